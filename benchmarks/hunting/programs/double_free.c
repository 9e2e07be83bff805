/* A counter of references is looked at again after it was lowered, on a path that few requests take. */
#include "race.h"

enum { RARE = 3, STEPS = 6000 };

struct request {
    volatile int references;
    volatile int freed;
};

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
    static struct request request;

    for (int round = 0; round < RARE * ROUNDS && !race_lost; round++) {
        if (!index) {
            request = (struct request){2, 0};
        }
        begin(index, STEPS);
        release(&request, round % RARE == 0, index);
        end(index);
        if (!index && request.freed != 1) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "a request was freed twice", "");
}
