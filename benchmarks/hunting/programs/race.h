/* What the planted races share: two sides that start each round together, and the word of a race that was lost.

   Side 0 passes through a window of some tens of instructions at the start of a round. Side 1 does what would hurt
   there some thousand instructions later. So the race is lost only where side 0 stands still in its window. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile int race_arrived;
static volatile int race_lost;
static volatile unsigned race_sink;

static inline void race_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

/* Do private work of about 4 * steps instructions. */
static __attribute__((noinline, unused)) void work(unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        race_sink = i;
    }
}

#ifdef STAND_STILL /* for a test: the race is lost then, whatever the machine does */
enum { IN_WINDOW = 200000, BEFORE = 50000 };
#else
enum { IN_WINDOW = 0, BEFORE = 0 };
#endif

/* Pass through the place in which side 0 must not stand still. */
static __attribute__((unused)) void window(int side)
{
    if (IN_WINDOW && !side) {
        usleep(IN_WINDOW);
    }
    work(8);
}

/* Come to what would hurt the other side in its window. */
static __attribute__((unused)) void later(unsigned steps)
{
    if (BEFORE) {
        usleep(BEFORE);
    }
    work(steps);
}

/* Wait until the other side has come to this round, too. Rounds count from 0. */
static __attribute__((unused)) void together(int round)
{
    __atomic_fetch_add(&race_arrived, 1, __ATOMIC_SEQ_CST);
    for (unsigned spins = 1; race_arrived < 2 * (round + 1) && !race_lost; spins++) {
        race_pause();
        if (spins % 4096 == 0) {
            sched_yield();
        }
    }
}

/* Each side has a vCPU of its own, where there are two. */
static void race_pin(int side)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(side % sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

struct race_side {
    int index;
    void (*body)(int side);
    volatile int ended;
};

static void *race_run(void *argument)
{
    static volatile int started;
    struct race_side *side = argument;

    race_pin(side->index);
    __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
    while (started < 2) {
        usleep(1000);
    }
    side->body(side->index);
    side->ended = 1;
    return NULL;
}

/* Run both sides; `what` is said where the race was lost, and `stuck` where a side has not ended after 5 seconds.
   Returns the program's status, 0 if neither was. The time at the end is in the console, so that two runs with one
   console took as many instructions. */
static int race(void (*body)(int side), const char *what, const char *stuck)
{
    static struct race_side sides[2];
    static pthread_t threads[2];
    struct timespec now;

    for (int i = 0; i < 2; i++) {
        sides[i] = (struct race_side){i, body, 0};
        pthread_create(&threads[i], NULL, race_run, &sides[i]);
    }
    for (int i = 0; i < 1000 && !(sides[0].ended && sides[1].ended); i++) {
        usleep(5000);
    }
    int ended = sides[0].ended && sides[1].ended;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("ended at %lld ns\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    if (race_lost) {
        printf("race lost: %s\n", what);
    } else if (!ended) {
        printf("a side did not end: %s\n", stuck);
    }
    fflush(stdout);
    if (!ended) {
        exit(1); /* not by main, for which OSv waits until all threads have ended */
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return race_lost;
}
