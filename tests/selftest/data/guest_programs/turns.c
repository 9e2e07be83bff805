/* The thread of the first vCPU hands its turn to that of the second and gets it back, then works for about one turn
   without giving way: how often did the second get on meanwhile? */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { ROUNDS = 100, WORK = 16500 }; /* twice as many instructions: a turn of 1000 µs has 31,250 at 32 ns */

static volatile long steps;
static volatile int over;

static void pin(int vcpu)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(vcpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

static void *second(void *unused)
{
    pin(1);
    while (!over) {
        steps++;
        __builtin_ia32_pause();
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    int preempted = 0;

    pin(0);
    pthread_create(&thread, NULL, second, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        for (long before = steps; steps < before + 2;) {
            __builtin_ia32_pause();
        }
        long before = steps;
        long left = WORK;
        __asm__ volatile("1: dec %0; jnz 1b" : "+r"(left));
        preempted += steps != before;
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("preempted %d times of %d\n", preempted, ROUNDS);
    return 0;
}
