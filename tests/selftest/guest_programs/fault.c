/* One program of every kind of end: `fault.so KIND`. It is run on OSv, where programs share the kernel's ring. */

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static void say(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void kernel_page_fault(void)
{
    /* The kernel's own memset writes, so the fault is not the program's. */
    void *(*volatile set)(void *, int, size_t) = memset;
    set((void *)8, 1, 4096);
}

static void *chatter(void *unused)
{
    for (;;)
        say("another thread says something\n");
    return unused;
}

static void *forever(void *unused)
{
    for (;;)
        ;
    return unused;
}

/* The kernel's allocator for drivers. malloc waits for ever where this one gives up. */
void *_ZN6memory29alloc_phys_contiguous_alignedEmmb(size_t size, size_t align, _Bool block);

static void out_of_memory(void)
{
    for (;;)
        _ZN6memory29alloc_phys_contiguous_alignedEmmb(32 << 20, 4096, 1);
}

static void malloc_without_end(void)
{
    for (;;)
        memset(malloc(1 << 20), 1, 1 << 20);
}

static void escape_to_any_address(void)
{
    volatile char *wild = (volatile char *)0x8000000000001234; /* not canonical on x86_64 */
    *wild = 1;
}

static void triple_fault(void)
{
#ifdef __x86_64__
    struct {
        unsigned short limit;
        unsigned long base;
    } __attribute__((packed)) none = {0, 0};
    __asm__ volatile("lidt %0; int3" ::"m"(none));
#endif
}

static void deep(volatile char *below)
{
    volatile char frame[4096];
    frame[0] = *below;
    deep(frame);
}

static int finished;

__attribute__((destructor)) static void after_the_summary(void)
{
    if (finished)
        kernel_page_fault();
}

static void flood(long lines)
{
    for (long line = 0; line < lines; line++)
        printf("flood %ld: not a fault, and not a word of the kernel either\n", line);
}

static void garbage(void)
{
    static const char bytes[] = "a\0b\xff\xfe\xc3(\x1b[2J\x1b]0;title\x07\x1b[31mred\xe2\x80\xae" "dorev\x9b" "5n\r\b\b\n";
    fwrite(bytes, 1, sizeof bytes - 1, stdout);
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    pthread_t thread;

#define KIND(name) else if (!strcmp(kind, name))
    if (!strcmp(kind, "pass"))
        say("OK\n");
    KIND("return") return atoi(argv[2]);
    KIND("exit") exit(atoi(argv[2]));
    KIND("quiet-_exit") _exit(atoi(argv[2]));
    KIND("prints-fail") say("FAIL: this is ordinary text\nFAILED 3 of 3\nERROR\n");
    KIND("assert") assert(argc == 99);
    KIND("abort") abort();
    KIND("segv") *(volatile char *)8 = 1;
    KIND("kernel-page-fault") kernel_page_fault();
    KIND("gpf") escape_to_any_address();
    KIND("oom") out_of_memory();
    KIND("malloc") malloc_without_end();
    KIND("signal") kill(getpid(), SIGTERM);
    KIND("overflow") deep((volatile char *)argv[0]);
    KIND("divide") return atoi(argv[2]) / (argc - argc);
    KIND("illegal") __builtin_trap();
    KIND("throw") { int (*volatile nowhere)(void) = NULL; return nowhere(); }
    KIND("summary-then-fault") { finished = 1; say("SUMMARY: 12 tests / 0 failures\n"); }
    KIND("idle") pause();
    KIND("spin") forever(NULL);
    KIND("reboot") reboot(RB_AUTOBOOT);
    KIND("power-off") reboot(RB_POWER_OFF);
    KIND("halt") reboot(RB_HALT_SYSTEM);
    KIND("triple-fault") triple_fault();
    KIND("marker") { say("Powering off.\nprogram /faults/fault.so returned 0\nprogram exited with status 0\n"); return 1; }
    KIND("fault-text") say("Assertion failed: no\nAborted\n[backtrace]\nOut of memory: could not reclaim any further\n");
    KIND("fault-text-then-1") { say("Assertion failed: no\nAborted\n"); return 1; }
    KIND("fault-text-then-idle") { say("Assertion failed: no\nAborted\n"); pause(); }
    KIND("no-newline") say("this line has no end");
    KIND("garbage") garbage();
    KIND("flood") flood(atol(argv[2]));
    KIND("long-line") { for (long left = atol(argv[2]); left > 0; left -= 64) fwrite("................................................................", 1, 64, stdout); }
    KIND("chatter-abort") { pthread_create(&thread, NULL, chatter, NULL); usleep(50000); abort(); }
    KIND("chatter-fault") { pthread_create(&thread, NULL, chatter, NULL); usleep(50000); kernel_page_fault(); }
    KIND("thread-left") { pthread_create(&thread, NULL, forever, NULL); return 0; }
    KIND("thread-exit") { pthread_create(&thread, NULL, (void *(*)(void *))exit, (void *)3); pause(); }
    else return 64;
    return 0;
}
