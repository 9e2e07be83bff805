/* A thread says that it is done with its job, and looks at the job once more. */
#include "race.h"

enum { ROUNDS = 150, ALIVE = 0x600d, FREED = 0xdead };

struct job {
    volatile int state;
    volatile int done;
};

static struct job jobs[ROUNDS];

static void end(struct job *job)
{
    job->done = 1;
    window(0);
    if (job->state == FREED) {
        race_lost = 1;
    }
}

static void side(int index)
{
    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        struct job *job = &jobs[round];

        if (!index) {
            job->state = ALIVE;
        }
        together(2 * round);
        if (index) {
            later(500);
            if (job->done) {
                job->state = FREED;
            }
        } else {
            end(job);
        }
        together(2 * round + 1);
    }
}

int main(void)
{
    return race(side, "a job was used after its memory was given back", "");
}
