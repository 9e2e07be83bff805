/* Prints what the kernel gives for random numbers. */
#include <stdio.h>

int main(void)
{
    unsigned char drawn[8];
    FILE *file = fopen("/dev/urandom", "r");

    if (!file || fread(drawn, sizeof drawn, 1, file) != 1) {
        return 1;
    }
    for (unsigned i = 0; i < sizeof drawn; i++) {
        printf("%02x", drawn[i]);
    }
    puts(" drawn");
    return 0;
}
