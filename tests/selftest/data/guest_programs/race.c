/* Two threads add to one number without a lock: status 1 where an addition was lost. */
#include <pthread.h>
#include <stdio.h>

enum { EACH = 200000 };

static volatile long sum;
static int ready;

static void *add(void *unused)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 2) {
    }
    for (int i = 0; i < EACH; i++) {
        sum = sum + 1;
    }
    return unused;
}

int main(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, add, NULL);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("lost %ld of %d\n", 2L * EACH - sum, 2 * EACH);
    return sum != 2L * EACH;
}
