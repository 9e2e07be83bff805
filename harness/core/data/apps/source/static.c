/* A program without a dynamic linker: memory, files, threads, time and floating point, all from one static file. */

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 10000, BYTES = 1 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long shared;
static __thread long own;

static uint32_t checksum(const unsigned char *data, size_t length)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        own++;
        pthread_mutex_lock(&lock);
        shared++;
        pthread_mutex_unlock(&lock);
    }
    return (void *)own;
}

static int work_with_a_file(void)
{
    unsigned char *data = malloc(BYTES), *back = malloc(BYTES);
    uint32_t x = 1;
    for (int i = 0; i < BYTES; i++) data[i] = (x = x * 1103515245 + 12345) >> 16;
    int file = open("/tmp/static.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || write(file, data, BYTES) != BYTES || lseek(file, 0, SEEK_SET) != 0) return 1;
    if (read(file, back, BYTES) != BYTES || memcmp(data, back, BYTES)) return 1;
    printf("crc %08x\n", checksum(back, BYTES));
    close(file);
    return unlink("/tmp/static.data");
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    long counted = 0;
    printf("arguments %d %s\n", argc, argc > 1 ? argv[1] : "");
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, count, NULL)) {
            puts("no thread");
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        void *one;
        pthread_join(threads[i], &one);
        counted += (long)one;
    }
    printf("counted %ld of %ld, here %ld\n", shared, counted, own);
    if (work_with_a_file()) {
        puts("the file is wrong");
        return 1;
    }
    char *pages = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        puts("no pages");
        return 1;
    }
    long sum = 0;
    for (int i = 0; i < 8 << 20; i += 4096) pages[i] = 1;
    for (int i = 0; i < 8 << 20; i++) sum += pages[i];
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    usleep(20000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double slept = after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) * 1e-9;
    double root = 1 + argc;
    for (int i = 0; i < 20; i++) root = (root + (1 + argc) / root) / 2;
    printf("pages %ld, slept %s, root %.12f\n", sum, slept >= 0.02 ? "enough" : "too little", root);
    return 0;
}
