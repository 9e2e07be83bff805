/* A web server with faults to choose from: server MODE [NUMBER]. One thread, one connection at a time. */

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char RIGHT[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nright\n";
static const char ESCAPES[] = "HTTP/1.1 2\033]0;mine\007\033[31m0 <b>OK</b>\r\n\r\n";
static const char WRONG[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nwrong\n";

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "right";
    int number = argc > 2 ? atoi(argv[2]) : 0, yes = 1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(8080) };
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    char request[4096];

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(mode, "deaf"))
        signal(SIGTERM, SIG_IGN);
    if (!strcmp(mode, "silent"))
        for (;;)
            pause();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) {
        perror("bind");
        return 1;
    }
    for (int served = 0;; served++) {
        int line = accept(listener, NULL, NULL);
        int late = served >= number;
        if (late && !strcmp(mode, "exits"))
            return 3;
        if (late && !strcmp(mode, "ends"))
            return 0;
        if (late && !strcmp(mode, "aborts"))
            abort();
        if (late && !strcmp(mode, "panics")) {
            FILE *trigger = fopen("/proc/sysrq-trigger", "w");
            fputs("c", trigger);
            fclose(trigger);
        }
        if (served == number && !strcmp(mode, "stalls"))
            sleep(3);
        if (late && !strcmp(mode, "leaks"))
            for (int i = 0; i < 64; i++)
                memset(malloc(1 << 20), 1, 1 << 20);
        if (late && !strcmp(mode, "resets")) {
            struct linger now = { 1, 0 };
            setsockopt(line, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        } else {
            if (read(line, request, sizeof request) < 0)
                perror("read");
            const char *answer = late && !strcmp(mode, "lies") ? WRONG : RIGHT;
            if (late && !strcmp(mode, "escapes"))
                answer = ESCAPES;
            if (write(line, answer, strlen(answer)) < 0)
                perror("write");
            shutdown(line, SHUT_WR);
            while (read(line, request, sizeof request) > 0)
                ;
        }
        close(line);
    }
}
