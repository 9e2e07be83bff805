/* Memory bandwidth: the four kernels of J. McCalpin's STREAM on threads, with the sums that must come out. */

#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LENGTH = 1 << 20, TIMES = 5, THREADS = 2, KERNELS = 4 };

static const double SCALAR = 3.0;
static double *a, *b, *c;
static double best[KERNELS];
static pthread_barrier_t line;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static void run(int kernel, long from, long to)
{
    switch (kernel) {
    case 0:
        for (long i = from; i < to; i++) c[i] = a[i];
        break;
    case 1:
        for (long i = from; i < to; i++) b[i] = SCALAR * c[i];
        break;
    case 2:
        for (long i = from; i < to; i++) c[i] = a[i] + b[i];
        break;
    default:
        for (long i = from; i < to; i++) a[i] = b[i] + SCALAR * c[i];
    }
}

static void *work(void *part)
{
    long number = (long)part;
    long from = LENGTH / THREADS * number, to = LENGTH / THREADS * (number + 1);
    for (int time = 0; time < TIMES; time++) {
        for (int kernel = 0; kernel < KERNELS; kernel++) {
            pthread_barrier_wait(&line);
            double began = seconds();
            run(kernel, from, to);
            pthread_barrier_wait(&line);
            double took = seconds() - began;
            if (number == 0 && (time == 0 || took < best[kernel])) best[kernel] = took;
        }
    }
    return NULL;
}

static double sum(const double *array)
{
    double total = 0;
    for (long i = 0; i < LENGTH; i++) total += array[i];
    return total / LENGTH;
}

int main(void)
{
    static const char *names[KERNELS] = { "Copy", "Scale", "Add", "Triad" };
    static const int arrays[KERNELS] = { 2, 2, 3, 3 };
    pthread_t threads[THREADS];
    size_t bytes = LENGTH * sizeof(double);
    if (posix_memalign((void **)&a, 64, bytes) || posix_memalign((void **)&b, 64, bytes) ||
        posix_memalign((void **)&c, 64, bytes)) {
        puts("no memory");
        return 1;
    }
    for (long i = 0; i < LENGTH; i++) a[i] = 1, b[i] = 2, c[i] = 0;

    pthread_barrier_init(&line, NULL, THREADS);
    for (long i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, (void *)i)) {
            puts("no thread");
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);

    double x = 1, y = 2, z = 0;
    for (int time = 0; time < TIMES; time++) {
        z = x;
        y = SCALAR * z;
        z = x + y;
        x = y + SCALAR * z;
    }
    for (int kernel = 0; kernel < KERNELS; kernel++)
        printf("%s %.1f MB/s\n", names[kernel], arrays[kernel] * bytes / best[kernel] / 1e6);
    printf("means %.0f %.0f %.0f\n", sum(a), sum(b), sum(c));
    int right = fabs(sum(a) - x) < 1e-6 && fabs(sum(b) - y) < 1e-6 && fabs(sum(c) - z) < 1e-6;
    puts(right ? "sums are right" : "sums are wrong");
    return !right;
}
