/* A ring's index is raised before what it shows is written. */
#include "race.h"

enum { STEPS = 6500, ENTRIES = 4 };

static volatile int ring[ENTRIES], written;

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        begin(index, STEPS);
        if (!index) {
            written = round + 1;
            window(index);
            ring[round % ENTRIES] = round + 1;
        } else if (written > round && ring[round % ENTRIES] != round + 1) {
            race_lost = 1;
        }
        end(index);
    }
}

int main(void)
{
    return race(side, "an entry was read before it was written", "");
}
