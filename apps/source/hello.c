/* Says that it runs, and how much of its machine's memory is taken. */

#include <stdio.h>
#include <sys/sysinfo.h>

int main(void)
{
    struct sysinfo now;

    puts("Hello from a guest");
    if (sysinfo(&now) == 0)
        printf("memory %llu bytes, %llu of them free\n", (unsigned long long)now.totalram * now.mem_unit,
               (unsigned long long)now.freeram * now.mem_unit);
    return 0;
}
