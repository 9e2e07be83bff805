/* Two numbers that belong together are written under a lock and read without it. */
#include "race.h"

enum { ROUNDS = 150 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int seconds, nanoseconds;

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        together(2 * round);
        if (index) {
            later(800);
            if (seconds != nanoseconds) {
                race_lost = 1;
            }
        } else {
            pthread_mutex_lock(&lock);
            seconds = round;
            window(index);
            nanoseconds = round;
            pthread_mutex_unlock(&lock);
        }
        together(2 * round + 1);
    }
}

int main(void)
{
    return race(side, "half of a pair was new", "");
}
