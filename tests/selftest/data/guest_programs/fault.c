/* One program of every kind of end: `fault.so KIND [NUMBER]`. It runs on OSv, inside the kernel's own address space. */

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static long number;

static void say(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void do_nothing_for_ever(void)
{
    for (;;)
        pause();
}

static void *spin(void *unused)
{
    for (;;)
        __asm__ volatile("");
    return unused;
}

static void *chatter(void *unused)
{
    for (;;)
        say("another thread says something\n");
    return unused;
}

static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER;

static void *take_and_keep(void *unused)
{
    pthread_mutex_lock(&taken);
    do_nothing_for_ever();
    return unused;
}

static void *exit_from_here(void *unused)
{
    exit(number);
    return unused;
}

static void start(void *(*what)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, what, NULL);
    usleep(50000);
}

/* The kernel's own memset writes, so the fault is not the program's. */
static void kernel_page_fault(void)
{
    void *(*volatile set)(void *, int, size_t) = memset;
    set((void *)8, 1, 4096);
}

/* The kernel's allocator for drivers: it gives up where malloc waits. */
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

/* abort(const char *, ...), which the kernel's own assertions call. */
void abort_with(const char *format, ...) __asm__("_Z5abortPKcz");

static void turn_off_by_the_port(void)
{
#ifdef __x86_64__
    __asm__ volatile("outw %0, %1" ::"a"((unsigned short)0x2000), "Nd"((unsigned short)0x604));
#endif
    do_nothing_for_ever();
}

/* From then on the kernel's poweroff() is a triple fault. */
void _ZN3osv8poweroffEv(void);

static void break_poweroff(void)
{
#ifdef __x86_64__
    static const unsigned char code[] = {
        0x6a, 0x00, 0x6a, 0x00,       /* push 0, twice */
        0x0f, 0x01, 0x1c, 0x24, 0xcc, /* lidt (%rsp); int3 */
    };
    memcpy((void *)_ZN3osv8poweroffEv, code, sizeof code);
#endif
}

static int finished;

__attribute__((destructor)) static void after_the_summary(void)
{
    if (finished)
        kernel_page_fault();
}

static void summary_then_fault(void)
{
    finished = 1;
    say("SUMMARY: 12 tests / 0 failures\n");
}

static void garbage(void)
{
    static const char bytes[] = "a\0b\xff\xfe\xc3(\x1b[2J\x1b]0;title\x07\x1b[31mred\xe2\x80\xae"
                                "dorev\x9b" "5n\r\b\b\n\0\0\0";
    fwrite(bytes, 1, sizeof bytes - 1, stdout);
}

static void flood(void)
{
    for (long line = 0; line < number; line++)
        printf("flood %ld: not a fault, and not a word of the kernel's either\n", line);
}

static void long_line(void)
{
    for (long left = number; left > 0; left -= 8)
        say("........");
}

static int run(const char *kind)
{
#define KIND(name) if (!strcmp(kind, name))
    KIND("pass") say("OK\n");
    KIND("exit") exit(number);
    KIND("thread-exit") { start(exit_from_here); do_nothing_for_ever(); }
    KIND("prints-fail") say("FAIL: this is ordinary text\nFAILED 3 of 3\nERROR\n");
    KIND("assert") assert(number == 42);
    KIND("abort") abort();
    KIND("segv") *(volatile char *)8 = 1;
    KIND("kernel-page-fault") kernel_page_fault();
    KIND("gpf") *(volatile char *)0x8000000000001234 = 1; /* not an address on x86_64 */
    KIND("illegal") __builtin_trap();
    KIND("call-null") ((void (*volatile)(void))NULL)();
    KIND("oom") out_of_memory();
    KIND("malloc") malloc_without_end();
    KIND("signal") kill(getpid(), SIGTERM);
    KIND("summary-then-fault") summary_then_fault();
    KIND("chatter-abort") { start(chatter); abort(); }
    KIND("chatter-page-fault") { start(chatter); kernel_page_fault(); }
    KIND("hang-on-mutex") { start(take_and_keep); pthread_mutex_lock(&taken); }
    KIND("idle") do_nothing_for_ever();
    KIND("spin") spin(NULL);
    KIND("thread-left") start(spin);
    KIND("exit-beside-spin") { start(spin); exit(number); }
    KIND("reboot") reboot(RB_AUTOBOOT);
    KIND("power-off") reboot(RB_POWER_OFF);
    KIND("halt") reboot(RB_HALT_SYSTEM);
    KIND("triple-fault") triple_fault();
    KIND("marker") say("Powering off.\nprogram /tmp/faults/fault.so returned 0\nprogram exited with status 0\n");
    KIND("marker") return 1;
    KIND("fault-text") say("Assertion failed: no\nAborted\n[backtrace]\nOut of memory: could not reclaim any further");
    KIND("fault-text") return number;
    KIND("fault-text-then-idle") { say("Assertion failed: no\nAborted\n"); do_nothing_for_ever(); }
    KIND("fault-text-then-off") { say("log: Transfer Aborted\n"); turn_off_by_the_port(); }
    KIND("fault-text-then-spin") { say("log: Transfer Aborted\n"); spin(NULL); }
    KIND("fault-text-then-reset") { say("log: Transfer Aborted\n"); triple_fault(); }
    KIND("load-failure-text") say("expected: Failed to load object: /tmp/faults/fault.so. Powering off.\n");
    KIND("status-text") say("program /tmp/faults/fault.so returned 1\n");
    KIND("exit-text") say("program exited with status 1\n");
    KIND("abort-empty") abort_with("");
    KIND("breaks-poweroff") break_poweroff();
    KIND("environment") printf("it is <%s>\n", getenv("PLANTED"));
    KIND("no-newline") say("this line has no end");
    KIND("garbage") garbage();
    KIND("flood") flood();
    KIND("long-line") long_line();
    return 0;
}

static int print_words(int argc, char **argv)
{
    for (int index = 2; index < argc; index++)
        for (printf("word: "); ; argv[index]++) {
            printf(*argv[index] ? "%02x" : "\n", (unsigned char)*argv[index]);
            if (!*argv[index])
                break;
        }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "words"))
        return print_words(argc, argv);
    number = argc > 2 ? atol(argv[2]) : 0;
    long status = number; /* its own: programs that run at once share their variables */
    usleep(300000); /* for the kernel's own last words about its boot, which would stand among others */
    return argc > 1 && !strcmp(argv[1], "return") ? status : run(argc > 1 ? argv[1] : "");
}
