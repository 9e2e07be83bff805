/* A counter of references is looked at again after it was lowered, on a path that few requests take. */
#include "race.h"

enum { ROUNDS = 450, RARE = 3 };

struct request {
    volatile int references;
    volatile int freed;
};

static struct request requests[ROUNDS];

static void release(struct request *request, int rare, int index)
{
    if (!rare) {
        if (__atomic_sub_fetch(&request->references, 1, __ATOMIC_SEQ_CST) == 0) {
            request->freed++;
        }
        return;
    }
    __atomic_sub_fetch(&request->references, 1, __ATOMIC_SEQ_CST);
    window(index);
    if (request->references == 0) {
        request->freed++;
    }
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        struct request *request = &requests[round];

        request->references = 2;
        together(2 * round);
        if (index) {
            later(400);
        }
        release(request, round % RARE == 0, index);
        together(2 * round + 1);
        if (request->freed != 1) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "a request was freed twice", "");
}
