/* Says that it runs, and how much of its machine's memory is taken; once more for each argument. */

#include <stdio.h>
#include <sys/sysinfo.h>

int main(int count, char **words)
{
    struct sysinfo now;

    (void)words;
    for (; count > 0; count--) {
        puts("Hello from a guest");
        if (sysinfo(&now) == 0)
            printf("memory %llu bytes, %llu of them free\n", (unsigned long long)now.totalram * now.mem_unit,
                   (unsigned long long)now.freeram * now.mem_unit);
    }
    return 0;
}
