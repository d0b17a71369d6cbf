/* Kills the process group at its N-th change of files below a directory.
 *
 * For programs in whatever language that call the C library (LD_PRELOAD); the variables
 * are those of tests/laboratory/kills/sitecustomize.py, which does the same for Python.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_below(const char *below, int directory, const char *path) {
    char place[PATH_MAX] = "", whole[2 * PATH_MAX + 1], link[64];
    size_t length = strlen(below);
    if (path[0] != '/') {
        ssize_t read;
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        read = readlink(directory == AT_FDCWD ? "/proc/self/cwd" : link, place, PATH_MAX - 1);
        place[read < 0 ? 0 : read] = '\0';
    }
    snprintf(whole, sizeof whole, "%s%s%s", place, *place ? "/" : "", path);
    return !strncmp(whole, below, length) && (!whole[length] || whole[length] == '/');
}

static void changes(int directory, const char *path) {
    const char *below = getenv("KILL_BELOW"), *count = getenv("KILL_COUNT");
    const char *at = getenv("KILL_AT");
    int before = errno, fd;
    struct stat about;
    if (below && count && at && path && is_below(below, directory, path)) {
        fd = (int)syscall(SYS_openat, AT_FDCWD, count, O_WRONLY | O_APPEND | O_CREAT, 0644);
        if (fd >= 0 && write(fd, ".", 1) == 1 && !fstat(fd, &about))
            if (atol(at) > 0 && about.st_size >= atol(at))
                kill(0, SIGKILL);
        if (fd >= 0)
            close(fd);
    }
    errno = before;
}

#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

#define OPENAT(name)                                                                      \
    int name(int directory, const char *path, int flags, ...) {                           \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        mode_t mode = va_arg(rest, mode_t);                                               \
        va_end(rest);                                                                     \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))                              \
            changes(directory, path);                                                     \
        return NEXT(int, name, int, const char *, int, ...)(directory, path, flags, mode); \
    }
#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...) {                                          \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        mode_t mode = va_arg(rest, mode_t);                                               \
        va_end(rest);                                                                     \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))                              \
            changes(AT_FDCWD, path);                                                      \
        return NEXT(int, name, const char *, int, ...)(path, flags, mode);                \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define ONE_PATH(name, declared, directory, path, given, ...)                             \
    int name declared {                                                                   \
        changes(directory, path);                                                         \
        return NEXT(int, name, __VA_ARGS__) given;                                        \
    }
ONE_PATH(unlink, (const char *path), AT_FDCWD, path, (path), const char *)
ONE_PATH(rmdir, (const char *path), AT_FDCWD, path, (path), const char *)
ONE_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode),
         const char *, mode_t)
ONE_PATH(mkdirat, (int at, const char *path, mode_t mode), at, path, (at, path, mode), int,
         const char *, mode_t)
ONE_PATH(unlinkat, (int at, const char *path, int flags), at, path, (at, path, flags), int,
         const char *, int)
ONE_PATH(symlink, (const char *to, const char *path), AT_FDCWD, path, (to, path),
         const char *, const char *)
ONE_PATH(symlinkat, (const char *to, int at, const char *path), at, path, (to, at, path),
         const char *, int, const char *)
ONE_PATH(link, (const char *from, const char *path), AT_FDCWD, path, (from, path),
         const char *, const char *)
ONE_PATH(linkat, (int a, const char *from, int at, const char *path, int flags), at, path,
         (a, from, at, path, flags), int, const char *, int, const char *, int)
ONE_PATH(rename, (const char *from, const char *path), AT_FDCWD, path, (from, path),
         const char *, const char *)
ONE_PATH(renameat, (int a, const char *from, int at, const char *path), at, path,
         (a, from, at, path), int, const char *, int, const char *)
ONE_PATH(renameat2, (int a, const char *from, int at, const char *path, unsigned flags), at,
         path, (a, from, at, path, flags), int, const char *, int, const char *, unsigned)
