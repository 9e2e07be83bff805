/* A thread says that it is done with its job, and looks at the job once more. */
#include "race.h"

enum { STEPS = 7000, ALIVE = 0x600d, FREED = 0xdead };

struct job {
    volatile int state;
    volatile int done;
};

static void finish(struct job *job)
{
    job->done = 1;
    window(0);
    if (job->state == FREED) {
        race_lost = 1;
    }
}

static void side(int index)
{
    static struct job job;

    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        if (!index) {
            job = (struct job){ALIVE, 0};
        }
        begin(index, STEPS);
        if (!index) {
            finish(&job);
        } else if (job.done) {
            job.state = FREED;
        }
        end(index);
    }
}

int main(void)
{
    return race(side, "a job was used after its memory was given back", "");
}
