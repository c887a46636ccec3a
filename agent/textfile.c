/* The temporary name begins with a dot and does not end in ".prom": node_exporter passes over it.
 */
#include "agent/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/exposition.h"
#include "base/file.h"

static int open_folder(const char *path, struct err **err)
{
    const char *slash = strrchr(path, '/');
    auto_free char *folder = !slash          ? xstrdup(".")
                             : slash == path ? xstrdup("/")
                                             : xstrndup(path, (size_t)(slash - path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        err_set_errno(err, errno, "folder %s", folder);
    return fd;
}

bool textfile_write(const struct manager *m, const char *path, struct err **err)
{
    const char *slash = strrchr(path, '/');
    struct file_mode mode = {.mode = 0644, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};
    auto_buf struct buf text;
    auto_close int folder = open_folder(path, err);

    buf_init(&text, EXPOSITION_MAX);
    if (folder < 0)
        return err_wrap(err, "metrics file");
    exposition_write(m, METRICS_TEXTFILE, &text);
    if (text.overflow)
        return err_set(err, ERR_SYSTEM, "metrics file %s: too many metrics", path);
    if (!file_write(folder, slash ? slash + 1 : path, text.data, text.len, mode, err))
        return err_wrap(err, "metrics file %s", path);
    return true;
}
