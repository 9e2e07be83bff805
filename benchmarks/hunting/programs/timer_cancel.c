/* A timer that is due looks whether it is still armed, and is cancelled before it calls back. */
#include "race.h"

enum { ROUNDS = 150 };

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
        together(2 * round);
        if (index) {
            later(300);
            cancel();
        } else {
            expire();
        }
        together(2 * round + 1);
    }
}

int main(void)
{
    return race(side, "a cancelled timer called back", "");
}
