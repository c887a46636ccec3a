/* Key, certificate and chain as separate files with certbot's names, in a folder of their own. */
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "store/output.h"
#include "store/owner.h"
#include "store/path.h"
#include "store/staple.h"
#include "store/versioned.h"

enum layout { LAYOUT_VERSIONED, LAYOUT_PLAIN };

struct files {
    char *dir;
    char *owner, *group; /* or NULL */
    mode_t mode, key_mode;
    int layout;
};

static const char *const layouts[] = {"versioned", "plain", NULL};

static const struct field fields[] = {
    {.name = "dir",
     .type = FIELD_PATH,
     .offset = offsetof(struct files, dir),
     .required = true,
     .help = "folder for privkey.pem, cert.pem, chain.pem, fullchain.pem and ocsp.der; made when "
             "missing"},
    {.name = "owner",
     .type = FIELD_STRING,
     .offset = offsetof(struct files, owner),
     .help = "user the files belong to, name or number; default: the agent's"},
    {.name = "group",
     .type = FIELD_STRING,
     .offset = offsetof(struct files, group),
     .help = "group the files belong to, name or number; default: the agent's"},
    {.name = "mode",
     .type = FIELD_FILE_MODE,
     .offset = offsetof(struct files, mode),
     .preset = "0644",
     .help = "mode of the certificate files"},
    {.name = "key_mode",
     .type = FIELD_FILE_MODE,
     .offset = offsetof(struct files, key_mode),
     .preset = "0600",
     .help = "mode of privkey.pem"},
    {.name = "layout",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct files, layout),
     .choices = layouts,
     .preset = "versioned",
     .help = "versioned: one symlink switches all files at once; plain: real files, replaced one "
             "after the other, the key last"},
    {0},
};

static void check(void *settings, const struct yaml_node *node, const char *path,
                  struct problems *problems)
{
    const struct files *s = settings;

    owner_check(s->owner, s->group, node, path, problems);
}

static void paths(const void *settings, struct strv *ret)
{
    const struct files *s = settings;

    strv_add(ret, s->dir);
    for (size_t i = 0; i < BUNDLE_PARTS; i++)
        strv_addf(ret, "%s/%s", s->dir, bundle_names[i]);
    strv_addf(ret, "%s/" STAPLE_FILE, s->dir);
}

/* The files as they should be: the staple, if there is one, before the file that names it. */
struct wanted {
    struct folder_file files[BUNDLE_PARTS + 1];
    size_t n;
    struct file_mode folder; /* whoever may read one of the files gets through it */
    char *stapling;
};

static void wanted_done(struct wanted *w)
{
    free(w->stapling);
}
#define auto_wanted __attribute__((cleanup(wanted_done)))

static bool wanted(const struct files *s, const struct bundle *b, struct wanted *w,
                   struct err **err)
{
    mode_t readers = (s->mode | s->key_mode) & 0444;
    auto_free char *path = xasprintf("%s/" STAPLE_FILE, s->dir);

    if (!owner_resolve(s->owner, s->group, &w->folder, err))
        return false;
    struct file_mode mode = w->folder;
    mode.mode = s->mode;
    w->stapling = b->staple.len > 0 ? staple_nginx(path) : xstrdup("");
    if (b->staple.len > 0)
        w->files[w->n++] = (struct folder_file){STAPLE_FILE, b->staple.data, b->staple.len, mode};
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        const struct buf *part = &b->parts[i];
        struct folder_file *f = &w->files[w->n++];
        *f = (struct folder_file){bundle_names[i], part->data, part->len, mode};
        if (i == BUNDLE_KEY)
            f->mode.mode = s->key_mode;
        if (i == BUNDLE_STAPLING)
            *f = (struct folder_file){bundle_names[i], w->stapling, strlen(w->stapling), mode};
    }
    w->folder.mode = 0700 | readers | readers >> 2;
    return true;
}

static bool has_plain(int dirfd, const struct wanted *w)
{
    for (size_t i = 0; i < w->n; i++) {
        if (!folder_has(dirfd, &w->files[i]))
            return false;
    }
    return true;
}

static bool write_plain(int dirfd, const struct wanted *w, struct err **err)
{
    const char *names[BUNDLE_PARTS + 1];

    if (has_plain(dirfd, w))
        return true;
    for (size_t i = 0; i < w->n; i++) {
        auto_free char *link = versioned_link(w->files[i].name);
        names[i] = w->files[i].name;
        if (!folder_may_replace(dirfd, w->files[i].name, link, err))
            return false;
    }
    folder_sweep(dirfd, names, w->n);
    if (!folder_replace(dirfd, w->files, w->n, err))
        return false;
    versioned_remove(dirfd); /* after a change of the layout */
    return true;
}

static bool is_staple_gone(int dirfd)
{
    return faccessat(dirfd, STAPLE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

/* A staple that was withdrawn, once nothing names it any more. */
static bool remove_staple(int dirfd, const struct wanted *w, struct err **err)
{
    auto_free char *link = versioned_link(STAPLE_FILE);

    if (w->n > BUNDLE_PARTS || is_staple_gone(dirfd) ||
        !folder_may_replace(dirfd, STAPLE_FILE, link, NULL))
        return true;
    return file_remove(dirfd, STAPLE_FILE, err) && file_sync_dir(dirfd, err);
}

static bool write_files(const void *settings, const struct bundle *b, struct err **err)
{
    const struct files *s = settings;
    auto_wanted struct wanted w = {0};

    if (!wanted(s, b, &w, err))
        return false;
    auto_close int dirfd = path_open_folder(s->dir, true, w.folder, err);
    if (dirfd < 0)
        return false;
    bool good = s->layout == LAYOUT_PLAIN ? write_plain(dirfd, &w, err)
                                          : versioned_write(dirfd, w.files, w.n, w.folder, err);
    return (good && remove_staple(dirfd, &w, err)) || err_wrap(err, "%s", s->dir);
}

static bool holds(const void *settings, const struct bundle *b)
{
    const struct files *s = settings;
    auto_wanted struct wanted w = {0};

    if (!wanted(s, b, &w, NULL))
        return false;
    auto_close int dirfd = path_open_folder(s->dir, false, w.folder, NULL);
    if (dirfd < 0 || (w.n == BUNDLE_PARTS && !is_staple_gone(dirfd)))
        return false;
    return s->layout == LAYOUT_PLAIN ? has_plain(dirfd, &w)
                                     : versioned_has(dirfd, w.files, w.n, w.folder);
}

/* The folder that holds the real files. */
static int open_real(const struct files *s, struct err **err)
{
    struct file_mode any = {0};
    auto_close int dirfd = path_open_folder(s->dir, false, any, err);

    if (dirfd < 0)
        return -1;
    if (s->layout == LAYOUT_VERSIONED)
        return versioned_open(dirfd, bundle_names, BUNDLE_PARTS, err);
    int opened = dirfd;
    dirfd = -1;
    return opened;
}

static char *current(const void *settings, struct err **err)
{
    const struct files *s = settings;
    auto_close int fd = open_real(s, err);
    auto_bundle struct bundle b;
    auto_chain struct chain *chain = NULL;
    auto_key struct key *key = NULL;
    bool good = fd >= 0;

    bundle_init(&b);
    for (size_t i = 0; good && i < BUNDLE_PARTS; i++)
        good = file_read(fd, bundle_names[i], BUNDLE_PART_MAX, false, &b.parts[i], err);
    if (!good || !bundle_parse(&b, &chain, &key, err)) {
        err_wrap(err, "%s", s->dir);
        return NULL;
    }
    return xstrdup(chain->items[0]->sha256_hex);
}

extern const struct output_type output_type_files;
const struct output_type output_type_files = {
    .name = "files",
    .help = "privkey.pem, cert.pem, chain.pem, fullchain.pem in a folder",
    .settings_size = sizeof(struct files),
    .fields = fields,
    .check = check,
    .paths = paths,
    .write = write_files,
    .holds = holds,
    .current = current,
};
