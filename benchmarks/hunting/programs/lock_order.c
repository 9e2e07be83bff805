/* Two threads take two locks, each in its own order. */
#include "race.h"

enum { STEPS = 7000 };

static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};

static void side(int index)
{
    for (int round = 0; round < ROUNDS; round++) {
        begin(index, STEPS);
        pthread_mutex_lock(&locks[index]);
        window(index);
        pthread_mutex_lock(&locks[!index]);
        work(8);
        pthread_mutex_unlock(&locks[!index]);
        pthread_mutex_unlock(&locks[index]);
        end(index);
    }
}

int main(void)
{
    return race(side, "", "both threads wait for a lock of the other");
}
