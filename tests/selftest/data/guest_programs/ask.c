/* Connects to an address and a port, and prints what it hears. Its status is 0 if that was something. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in there = { .sin_family = AF_INET };
    struct pollfd line = { .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN };
    char heard[64];
    ssize_t size;

    if (argc != 3 || inet_pton(AF_INET, argv[1], &there.sin_addr) != 1)
        return 2;
    there.sin_port = htons(atoi(argv[2]));
    fcntl(line.fd, F_SETFL, O_NONBLOCK);
    connect(line.fd, (struct sockaddr *)&there, sizeof(there));
    if (poll(&line, 1, 20000) != 1 || (size = read(line.fd, heard, sizeof(heard) - 1)) <= 0) {
        puts("heard nothing");
        return 1;
    }
    heard[size] = '\0';
    printf("heard: %s", heard);
    return 0;
}
