#include <stdio.h>

int main(void)
{
    puts("Hello from a guest");
    return 0;
}
