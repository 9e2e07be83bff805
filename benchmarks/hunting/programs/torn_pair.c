/* Two numbers that belong together are written under a lock and read without it. */
#include "race.h"

enum { STEPS = 7000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int seconds, nanoseconds;

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        begin(index, STEPS);
        if (!index) {
            pthread_mutex_lock(&lock);
            seconds = round;
            window(index);
            nanoseconds = round;
            pthread_mutex_unlock(&lock);
        } else if (seconds != nanoseconds) {
            race_lost = 1;
        }
        end(index);
    }
}

int main(void)
{
    return race(side, "half of a pair was new", "");
}
