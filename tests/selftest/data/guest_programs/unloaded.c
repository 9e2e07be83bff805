/* Dies of words that lie in a page of its file that was never loaded, which abort() can't load: `unloaded.so KIND`. */

#include <assert.h>
#include <unistd.h>

/* abort(const char *, ...), which the kernel's own assertions call. */
void abort_with(const char *format, ...) __asm__("_Z5abortPKcz");

__attribute__((noinline)) static void check_in_a_function(int found)
{
    assert(found == 42);
}

int main(int argc, char **argv)
{
    usleep(300000);
    if (argc > 1 && argv[1][0] == 'a')
        check_in_a_function(argc);
    abort_with("planted death: the pool is corrupt\n");
}
