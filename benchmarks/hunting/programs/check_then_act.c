/* What is to be made once is looked for without a lock, made, and then shown to others. */
#include "race.h"

enum { STEPS = 7000 };

static volatile int shown, made;

static void get(int index)
{
    if (!shown) {
        window(index);
        __atomic_fetch_add(&made, 1, __ATOMIC_SEQ_CST);
        shown = 1;
    }
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        if (!index) {
            made = shown = 0;
        }
        begin(index, STEPS);
        get(index);
        end(index);
        if (!index && made != 1) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "it was made twice", "");
}
