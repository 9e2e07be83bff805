/* The flag is looked at without the lock that its condition is waited for with. */
#include "race.h"

enum { ROUNDS = 150 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static volatile int ready;

static void wait_for_it(void)
{
    struct timespec until;

    if (ready) {
        return;
    }
    window(0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&lock);
    if (pthread_cond_timedwait(&changed, &lock, &until)) {
        race_lost = 1;
    }
    pthread_mutex_unlock(&lock);
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        ready = 0;
        together(2 * round);
        if (index) {
            later(1500);
            ready = 1;
            pthread_mutex_lock(&lock);
            pthread_cond_signal(&changed);
            pthread_mutex_unlock(&lock);
        } else {
            wait_for_it();
        }
        together(2 * round + 1);
    }
}

int main(void)
{
    return race(side, "a wake-up", "");
}
