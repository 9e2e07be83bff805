/* The flag is looked at without the lock that its condition is waited for with. */
#include "race.h"

enum { STEPS = 7500 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static volatile int ready, signalled;

static void wait_for_it(const struct timespec *until)
{
    if (ready) {
        return;
    }
    window(0);
    pthread_mutex_lock(&lock);
    int already = signalled; /* a wait that is long for another reason is none of a lost wake-up */
    passed();
    if (pthread_cond_timedwait(&changed, &lock, until) && already) {
        race_lost = 1;
    }
    pthread_mutex_unlock(&lock);
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        struct timespec until;

        if (!index) {
            ready = signalled = 0;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec++;
        }
        begin(index, STEPS);
        if (index) {
            ready = 1;
            pthread_mutex_lock(&lock);
            signalled = 1;
            pthread_cond_signal(&changed);
            pthread_mutex_unlock(&lock);
        } else {
            wait_for_it(&until);
        }
        end(index);
    }
}

int main(void)
{
    return race(side, "a wake-up", "");
}
