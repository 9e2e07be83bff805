/* Two threads change a balance without a lock. */
#include "race.h"

enum { STEPS = 6500 };

static volatile long balance;

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        begin(index, STEPS);
        long seen = balance;
        window(index);
        balance = seen + 1;
        end(index);
        if (!index && balance != 2 * (round + 1)) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "an update", "");
}
