/* What is to be made once is looked for without a lock, made, and then shown to others. */
#include "race.h"

enum { ROUNDS = 150 };

static volatile int shown[ROUNDS], made[ROUNDS];

static void get(int round, int index)
{
    if (!shown[round]) {
        window(index);
        __atomic_fetch_add(&made[round], 1, __ATOMIC_SEQ_CST);
        shown[round] = 1;
    }
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        together(2 * round);
        if (index) {
            later(1000);
        }
        get(round, index);
        together(2 * round + 1);
        if (made[round] != 1) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "it was made twice", "");
}
