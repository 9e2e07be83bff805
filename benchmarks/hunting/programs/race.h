/* What the planted races share: two sides that go through rounds together, and the word of a race that was lost.

   In each round side 0 passes through a window of some tens of instructions at once, and side 1 divides for 36,000
   to 45,000 and then does what would hurt there. So the race is lost only where side 0 stands still in its window
   for that long. It must not do so by itself: every second round only warms up, for side 1 waits in it until side
   0 has passed. Code is translated then and in the caches, memory is there, symbols are bound. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WARM = 4, ROUNDS = 300 };

static volatile int race_lost;
/* The last round that side 1 came to, that side 0 opened, whose window side 0 passed, and that side 1 ended. */
static volatile int race_ready, race_opened, race_passed, race_harmed;
static volatile int race_round[2], race_over;

static inline void race_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

/* Do private work of about 4 * steps instructions: a cache line of both sides would make a window last. */
static __attribute__((noinline, unused)) void work(unsigned steps)
{
    volatile unsigned sink;

    for (unsigned i = 0; i < steps; i++) {
        sink = i;
    }
    (void)sink;
}

/* Do private work of about 6 * steps instructions, of which an emulator needs long for some. */
static __attribute__((noinline, unused)) void divide(unsigned steps)
{
    volatile double sink = 1e300;

    for (unsigned i = 0; i < steps; i++) {
        sink = sink / 1.0001;
    }
}

#ifdef STAND_STILL /* for a test: the race is lost then, whatever the machine does */
enum { IN_WINDOW = 200000, BEFORE = 50000 };
#else
enum { IN_WINDOW = 0, BEFORE = 0 };
#endif

/* Whether the race can't be lost in the round. */
static int warms(int round)
{
    return round <= WARM || round % 2;
}

/* Pass through the place in which side 0 must not stand still. */
static __attribute__((unused)) void window(int side)
{
    if (side) {
        return;
    }
    if (IN_WINDOW && !warms(race_round[side])) {
        usleep(IN_WINDOW);
    }
    work(8);
}

/* Wait until the other side has come to this round. */
static __attribute__((noinline)) void wait_for(volatile int *at, int round)
{
    for (unsigned spins = 1; __atomic_load_n(at, __ATOMIC_ACQUIRE) < round && !race_lost; spins++) {
        race_pause();
        while (race_over) {
            sleep(1); /* OSv does not power off while a thread is busy */
        }
        if (spins % 4096 == 0) {
            sched_yield();
        }
    }
}

/* Say that side 0 has passed its window in this round. */
static void passed(void)
{
    __atomic_store_n(&race_passed, race_round[0], __ATOMIC_RELEASE);
}

/* Begin a round, and come to the window or, after so many divisions, to what would hurt there. */
static void begin(int side, unsigned steps)
{
    int round = ++race_round[side];

    if (!side) {
        wait_for(&race_ready, round);
        __atomic_store_n(&race_opened, round, __ATOMIC_RELEASE);
        return;
    }
    __atomic_store_n(&race_ready, round, __ATOMIC_RELEASE);
    wait_for(&race_opened, round);
    if (BEFORE) {
        usleep(BEFORE);
    }
    if (warms(round)) {
        wait_for(&race_passed, round);
    } else {
        divide(steps);
    }
}

/* End a round, when both sides are through. */
static void end(int side)
{
    if (side) {
        __atomic_store_n(&race_harmed, race_round[side], __ATOMIC_RELEASE);
        wait_for(&race_passed, race_round[side]);
    } else {
        passed();
        wait_for(&race_harmed, race_round[side]);
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

static pthread_mutex_t race_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t race_changed = PTHREAD_COND_INITIALIZER;
static volatile int race_started, race_ended;

struct race_side {
    int index;
    void (*body)(int side);
};

static void *race_run(void *argument)
{
    struct race_side *side = argument;

    race_pin(side->index);
    __atomic_fetch_add(&race_started, 1, __ATOMIC_SEQ_CST);
    wait_for(&race_started, 2);
    side->body(side->index);
    pthread_mutex_lock(&race_lock);
    race_ended++;
    pthread_cond_signal(&race_changed);
    pthread_mutex_unlock(&race_lock);
    return NULL;
}

/* Run both sides; `what` is said where the race was lost, and `stuck` where no round began for 3 seconds.
   Returns the program's status, 0 if neither was. The time at the end is in the console, so that two runs with one
   console took as many instructions. This thread sleeps meanwhile, for it has a vCPU with one of the sides. */
static int race(void (*body)(int side), const char *what, const char *stuck)
{
    static struct race_side sides[2];
    static pthread_t threads[2];
    struct timespec now, until;
    int before;

    for (int i = 0; i < 2; i++) {
        sides[i] = (struct race_side){i, body};
        pthread_create(&threads[i], NULL, race_run, &sides[i]);
    }
    pthread_mutex_lock(&race_lock);
    do {
        before = race_round[0];
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 3;
        while (race_ended < 2 && !pthread_cond_timedwait(&race_changed, &race_lock, &until)) {
        }
    } while (race_ended < 2 && race_round[0] != before);
    int ended = race_ended == 2;
    pthread_mutex_unlock(&race_lock);
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("ended at %lld ns\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    if (race_lost) {
        printf("race lost: %s\n", what);
    } else if (!ended) {
        printf("a side did not end: %s\n", stuck);
    }
    fflush(stdout);
    if (!ended) {
        race_over = 1;
        exit(1); /* not by main, for which OSv waits until all threads have ended */
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return race_lost;
}
