/* /proc/net/tcp gives the inode of the socket, /proc/PID/fd the process that has it open. Asked
 * only when a port is taken; bounded, because a busy machine has very many descriptors. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/listen.h"

#define LINES_MAX   10000 /* listening sockets come first */
#define SOCKETS_MAX 16
#define LINKS_MAX   50000
#define TCP_LISTEN  0x0a

struct holders {
    char links[SOCKETS_MAX][40]; /* "socket:[INODE]" */
    size_t n;
    unsigned uid; /* of the first */
    size_t links_read;
};

static void read_table(struct holders *h, const char *path, unsigned port)
{
    FILE *f = fopen(path, "re");
    char line[512];

    for (size_t i = 0; f && i < LINES_MAX && h->n < SOCKETS_MAX && fgets(line, sizeof(line), f);
         i++) {
        unsigned local, status, uid;
        unsigned long inode;

        if (sscanf(line,
                   "%*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*u %lu",
                   &local, &status, &uid, &inode) != 4 ||
            local != port || status != TCP_LISTEN)
            continue;
        if (h->n == 0)
            h->uid = uid;
        snprintf(h->links[h->n++], sizeof(h->links[0]), "socket:[%lu]", inode);
    }
    if (f)
        fclose(f);
}

static bool has_socket(struct holders *h, int proc, const char *pid)
{
    auto_free char *path = xasprintf("%s/fd", pid);
    int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    bool found = false;

    if (!dir) {
        close_p(&fd);
        return false;
    }
    while (!found && h->links_read < LINKS_MAX && (entry = readdir(dir))) {
        char link[40];
        ssize_t len = readlinkat(fd, entry->d_name, link, sizeof(link) - 1);

        h->links_read++;
        if (len < 0)
            continue;
        link[len] = '\0';
        for (size_t i = 0; i < h->n; i++)
            found = found || strcmp(link, h->links[i]) == 0;
    }
    closedir(dir);
    return found;
}

static char *describe(int proc, const char *pid)
{
    auto_free char *path = xasprintf("%s/comm", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    char name[32];
    ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);

    close_p(&fd);
    name[n > 0 ? n : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    return xasprintf("%s (pid %s)", name[0] ? name : "a program", pid);
}

/* /proc lists processes by their number: of a server and its workers, the server comes first. */
char *listen_holder(unsigned port)
{
    struct holders h = {0};
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    char *found = NULL;

    read_table(&h, "/proc/net/tcp", port);
    read_table(&h, "/proc/net/tcp6", port);
    while (dir && h.n > 0 && !found && (entry = readdir(dir)))
        if (isdigit((unsigned char)entry->d_name[0]) && has_socket(&h, dirfd(dir), entry->d_name))
            found = describe(dirfd(dir), entry->d_name);
    if (dir)
        closedir(dir);
    if (!found && h.n > 0)
        found = xasprintf("a program of user id %u", h.uid);
    return found;
}
