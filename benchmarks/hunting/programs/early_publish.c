/* A ring's index is raised before what it shows is written. */
#include "race.h"

enum { ROUNDS = 150 };

static volatile int ring[ROUNDS], written;

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        together(2 * round);
        if (index) {
            later(500);
            if (written > round && ring[round] != round + 1) {
                race_lost = 1;
            }
        } else {
            written = round + 1;
            window(index);
            ring[round] = round + 1;
        }
        together(2 * round + 1);
    }
}

int main(void)
{
    return race(side, "an entry was read before it was written", "");
}
