/* Lets xl, on a host that is no Xen domain 0, open what it opens there, so that it reads a configuration. Nothing
 * that it asks is answered. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#define UNKNOWN_REQUEST 0x50ff /* by which xl finds out whether the kernel answers those rightly */

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    va_list rest;
    va_start(rest, flags);
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    return real(strncmp(path, "/dev/xen/", 9) ? path : "/dev/zero", flags, mode);
}

int open64(const char *path, int flags, ...)
{
    return open(path, flags);
}

int ioctl(int fd, unsigned long request, ...)
{
    if (request != UNKNOWN_REQUEST)
        return 0;
    errno = ENOTTY;
    return -1;
}
