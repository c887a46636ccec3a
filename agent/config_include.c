/* Files and what they include. Paths are relative to the file that names them; a file that was read
 * already is not read again. */
#include <errno.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config_private.h"

#define INCLUDES_DEEP   16
#define FILES_MAX       100000
#define GLOB_CHARACTERS "*?["

/* A file whose includes are being read. */
struct open_file {
    const struct open_file *parent;
    const char *file;
    dev_t device;
    ino_t inode;
    int depth;
};

static void read_file(struct reader *r, const char *file, const struct yaml_node *at,
                      const struct open_file *parent);

/* Whoever can change the configuration chooses what is run and written with our rights. */
static void check_owner(struct reader *r, const char *file, const struct stat *st)
{
    uid_t we = geteuid();

    if (st->st_uid != 0 && st->st_uid != we)
        problems_add_file(r->problems, file, "belongs to user %u, not to root%s: chown %s %s",
                          (unsigned)st->st_uid, we == 0 ? "" : " or to you",
                          we == 0 ? "root" : "root (or yourself)", file);
    if (st->st_mode & S_IWOTH)
        problems_add_file(r->problems, file, "is writable by every user: chmod o-w %s", file);
}

static void check_group(struct reader *r, const char *file, const struct stat *st)
{
    if (!(st->st_mode & S_IWGRP) || st->st_gid == 0 || st->st_gid == getegid())
        return;
    problems_add(r->problems, (struct problem){.warning = true,
                                               .file = xstrdup(file),
                                               .message = xasprintf(
                                                   "is writable by group %u: chmod g-w, if that is "
                                                   "not meant",
                                                   (unsigned)st->st_gid)});
}

/* Problem about a file that is included, or about the first one. */
static void complain(struct reader *r, const struct yaml_node *at, const char *file,
                     const char *text)
{
    r->incomplete = true;
    if (at)
        yaml_problem(r->problems, false, at, "include", NULL, "%s: %s", file, text);
    else
        problems_add_file(r->problems, file, "%s", text);
}

static bool is_cycle(struct reader *r, const struct open_file *c, const struct yaml_node *at)
{
    for (const struct open_file *up = c->parent; up; up = up->parent) {
        if (up->device == c->device && up->inode == c->inode) {
            complain(r, at, c->file, "includes itself");
            return true;
        }
    }
    if (c->depth > INCLUDES_DEEP) {
        complain(r, at, c->file, "files include each other more than 16 deep");
        return true;
    }
    return false;
}

/* glob() tells of folders that it cannot read only here, and there is no userdata. */
static int on_glob_error(const char *path, int errnum)
{
    (void)path;
    return errnum != ENOENT && errnum != ENOTDIR;
}

static void read_pattern(struct reader *r, const char *pattern, const struct yaml_node *at,
                         const struct open_file *chain)
{
    glob_t found = {0};
    int rc = glob(pattern, 0, on_glob_error, &found);

    if (rc == GLOB_ABORTED)
        complain(r, at, pattern, "a folder on the way cannot be read");
    else if (rc == GLOB_NOSPACE)
        complain(r, at, pattern, "too many files");
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        read_file(r, found.gl_pathv[i], at, chain);
    globfree(&found);
}

/* The folder of the including file before a relative path; its own * and [ are no pattern. */
static char *resolve(const char *file, const char *text, bool pattern)
{
    const char *slash = strrchr(file, '/');
    auto_buf struct buf path;

    buf_init(&path, SIZE_MAX / 2);
    for (const char *c = file; text[0] != '/' && slash && c <= slash; c++) {
        if (pattern && strchr(GLOB_CHARACTERS "\\", *c))
            buf_add_str(&path, "\\");
        buf_add(&path, c, 1);
    }
    buf_add_str(&path, text);
    return buf_take(&path);
}

static void read_include(struct reader *r, const struct yaml_node *at,
                         const struct open_file *chain)
{
    const char *text = yaml_scalar(at);

    if (!text || !*text) {
        yaml_problem(r->problems, false, at, "include", NULL, "expected a path, this is %s",
                     text ? "an empty text" : yaml_type_text(at));
        return;
    }
    bool pattern = strpbrk(text, GLOB_CHARACTERS);
    auto_free char *path = resolve(chain->file, text, pattern);

    if (pattern)
        read_pattern(r, path, at, chain);
    else
        read_file(r, path, at, chain);
}

static void read_includes(struct reader *r, const struct yaml_node *root,
                          const struct open_file *chain)
{
    const struct yaml_node *include = yaml_get(root, "include");

    if (!include || yaml_node_type(include) == YAML_NULL)
        return;
    if (yaml_node_type(include) != YAML_LIST) {
        read_include(r, include, chain);
        return;
    }
    for (size_t i = 0; i < yaml_count(include); i++)
        read_include(r, yaml_item(include, i), chain);
}

static void read_file(struct reader *r, const char *file, const struct yaml_node *at,
                      const struct open_file *parent)
{
    struct open_file chain = {
        .parent = parent, .file = file, .depth = parent ? parent->depth + 1 : 0};
    struct stat st;

    if (stat(file, &st) != 0) {
        complain(r, at, file, strerrordesc_np(errno));
        return;
    }
    if (!S_ISREG(st.st_mode)) {
        complain(r, at, file,
                 !S_ISDIR(st.st_mode) ? "is no regular file"
                 : at                 ? "is a folder: include FOLDER/*.yaml"
                                      : "is a folder, not a file");
        return;
    }
    chain.device = st.st_dev;
    chain.inode = st.st_ino;
    if (is_cycle(r, &chain, at))
        return;

    auto_free char *id =
        xasprintf("%llx:%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);

    if (map_get(r->files, id))
        return;
    if (map_count(r->files) >= FILES_MAX) {
        complain(r, at, file, "too many files");
        return;
    }
    map_set(r->files, id, r);
    check_owner(r, file, &st);
    check_group(r, file, &st);

    struct yaml *document = yaml_load(file, r->problems);

    if (!document) {
        r->incomplete = true;
        return;
    }
    reader_take_document(r, document);
    read_includes(r, yaml_root(document), &chain);
}

void reader_read_file(struct reader *r, const char *file)
{
    read_file(r, file, NULL, NULL);
}
