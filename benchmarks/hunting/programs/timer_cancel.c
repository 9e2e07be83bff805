/* A timer that is due looks whether it is still armed, and is cancelled before it calls back. */
#include "race.h"

enum { STEPS = 6500 };

static volatile int armed;
static int *volatile context;

static void expire(void)
{
    if (armed) {
        window(0);
        if (!context) {
            race_lost = 1;
        }
    }
}

static void cancel(void)
{
    armed = 0;
    context = NULL;
}

static void side(int index)
{
    static int alive;

    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        if (!index) {
            context = &alive;
            armed = 1;
        }
        begin(index, STEPS);
        if (index) {
            cancel();
        } else {
            expire();
        }
        end(index);
    }
}

int main(void)
{
    return race(side, "a cancelled timer called back", "");
}
