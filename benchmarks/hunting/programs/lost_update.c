/* Two threads change a balance without a lock. */
#include "race.h"

enum { ROUNDS = 150 };

static volatile long balance;

static void side(int index)
{
    for (int round = 0; round < ROUNDS; round++) {
        together(2 * round);
        if (index) {
            later(500);
        }
        long seen = balance;
        window(index);
        balance = seen + 1;
        together(2 * round + 1);
        if (balance != 2 * (round + 1)) {
            race_lost = 1;
            return;
        }
    }
}

int main(void)
{
    return race(side, "an update", "");
}
