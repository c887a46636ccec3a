#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/control_private.h"

bool control_address(const char *path, struct control_address *ret, struct err **err)
{
    const char *slash = strrchr(path, '/');
    auto_free char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");

    *ret = (struct control_address){.addr.sun_family = AF_UNIX, .dirfd = -1};
    ret->name = slash ? slash + 1 : path;
    ret->dirfd = open(*folder ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (ret->dirfd < 0)
        return err_set_errno(err, errno, "control socket %s", path);

    char *to = ret->addr.sun_path;
    size_t size = sizeof ret->addr.sun_path;
    size_t len = strlen(path);
    int written = len < size ? snprintf(to, size, "%s", path)
                             : snprintf(to, size, "/proc/self/fd/%d/%s", ret->dirfd, ret->name);
    if (written < 0 || (size_t)written >= size) {
        control_address_done(ret);
        return err_set(err, ERR_CONFIG, "control socket %s: the name is too long", path);
    }
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)written + 1);
    return true;
}

void control_address_done(struct control_address *a)
{
    if (a->dirfd >= 0)
        close(a->dirfd);
    a->dirfd = -1;
}

int control_socket(int flags, struct err **err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    if (fd < 0)
        err_set_errno(err, errno, "control socket");
    return fd;
}
