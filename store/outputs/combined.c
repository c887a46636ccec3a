/* Key, certificate and chain in one PEM file: HAProxy, Postfix, lighttpd, and programs that re-read
 * their file at any moment. */
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "pki/pem.h"
#include "store/folder.h"
#include "store/output.h"
#include "store/owner.h"
#include "store/path.h"

#define CONTENT_MAX   (2 * BUNDLE_PART_MAX)
#define STAPLE_SUFFIX ".ocsp"

struct combined {
    char *path;
    struct strv order;
    char *owner, *group; /* or NULL */
    mode_t mode;
};

static const struct field fields[] = {
    {.name = "path",
     .type = FIELD_PATH,
     .offset = offsetof(struct combined, path),
     .required = true,
     .help = "the PEM file"},
    {.name = "order",
     .type = FIELD_STRINGS,
     .offset = offsetof(struct combined, order),
     .preset = "[key, cert, chain]",
     .help = "what is in it, in this order: key, cert, chain"},
    {.name = "owner",
     .type = FIELD_STRING,
     .offset = offsetof(struct combined, owner),
     .help = "user the file belongs to, name or number; default: the agent's"},
    {.name = "group",
     .type = FIELD_STRING,
     .offset = offsetof(struct combined, group),
     .help = "group the file belongs to, name or number; default: the agent's"},
    {.name = "mode",
     .type = FIELD_FILE_MODE,
     .offset = offsetof(struct combined, mode),
     .preset = "0600",
     .help = "mode of the file"},
    {0},
};

static const char *const part_names[] = {"key", "cert", "chain", NULL};
static const enum bundle_part parts[] = {BUNDLE_KEY, BUNDLE_CERT, BUNDLE_CHAIN};

static bool part_find(const char *name, enum bundle_part *ret)
{
    for (size_t i = 0; part_names[i]; i++) {
        if (strcmp(part_names[i], name) == 0) {
            *ret = parts[i];
            return true;
        }
    }
    return false;
}

static void check_order(const struct strv *order, const struct yaml_node *at, const char *path,
                        struct problems *problems)
{
    auto_free char *whole = path ? xasprintf("%s.order", path) : NULL;
    unsigned seen = 0;

    for (size_t i = 0; i < order->n; i++) {
        enum bundle_part part;
        if (!part_find(order->items[i], &part))
            yaml_problem(problems, false, at, whole, schema_nearest(order->items[i], part_names),
                         "\"%s\" is no part of a PEM file: expected key, cert or chain",
                         order->items[i]);
        else if (seen & 1u << part)
            yaml_problem(problems, false, at, whole, NULL, "%s is there twice", order->items[i]);
        else
            seen |= 1u << part;
    }
    if (!(seen & 1u << BUNDLE_CERT))
        yaml_problem(problems, false, at, whole, NULL, "cert is missing");
    /* Every reader takes the first certificate for the leaf. */
    for (size_t i = 0; i < order->n && strcmp(order->items[i], "cert") != 0; i++) {
        if (strcmp(order->items[i], "chain") == 0)
            yaml_problem(problems, false, at, whole, NULL, "chain must come after cert");
    }
}

static void check(void *settings, const struct yaml_node *node, const char *path,
                  struct problems *problems)
{
    const struct combined *s = settings;
    const struct yaml_node *order = node ? yaml_get(node, "order") : NULL;

    check_order(&s->order, order ? order : node, path, problems);
    owner_check(s->owner, s->group, node, path, problems);
}

static void paths(const void *settings, struct strv *ret)
{
    const struct combined *s = settings;

    strv_add(ret, s->path);
    strv_addf(ret, "%s" STAPLE_SUFFIX, s->path);
}

static void content(const struct combined *s, const struct bundle *b, struct buf *ret)
{
    buf_init(ret, SIZE_MAX);
    ret->wipe = true;
    for (size_t i = 0; i < s->order.n; i++) {
        enum bundle_part part;
        if (part_find(s->order.items[i], &part))
            buf_add(ret, b->parts[part].data, b->parts[part].len);
    }
}

/* PATH.ocsp, where HAProxy looks for it: made, replaced or removed. */
static bool write_staple(int dirfd, const char *name, const struct bundle *b, struct file_mode mode,
                         struct err **err)
{
    auto_free char *staple = xasprintf("%s" STAPLE_SUFFIX, name);
    struct folder_file file = {staple, b->staple.data, b->staple.len, mode};

    if (b->staple.len == 0)
        return !folder_may_replace(dirfd, staple, NULL, NULL) || file_remove(dirfd, staple, err);
    if (folder_has(dirfd, &file))
        return true;
    return folder_may_replace(dirfd, staple, NULL, err) && folder_replace(dirfd, &file, 1, err);
}

static bool has_staple(int dirfd, const char *name, const struct bundle *b, struct file_mode mode)
{
    auto_free char *staple = xasprintf("%s" STAPLE_SUFFIX, name);
    struct folder_file file = {staple, b->staple.data, b->staple.len, mode};

    if (b->staple.len > 0)
        return folder_has(dirfd, &file);
    return faccessat(dirfd, staple, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

static bool write_pem(int dirfd, const char *name, const struct buf *text, struct file_mode mode,
                      struct err **err)
{
    struct folder_file file = {name, text->data, text->len, mode};

    if (folder_has(dirfd, &file))
        return true;
    if (!folder_may_replace(dirfd, name, NULL, err))
        return false;
    folder_sweep(dirfd, &name, 1);
    return folder_replace(dirfd, &file, 1, err);
}

/* The staple first: one that a program does not know yet is ignored, while a certificate with its
 * predecessor's staple may be refused. */
static bool write_combined(const void *settings, const struct bundle *b, struct err **err)
{
    const struct combined *s = settings;
    auto_buf struct buf text = {0};
    struct file_mode mode;
    const char *name = NULL;

    if (!owner_resolve(s->owner, s->group, &mode, err))
        return false;
    content(s, b, &text);
    mode.mode = s->mode;
    auto_close int dirfd = path_open_parent(s->path, true, &name, err);
    if (dirfd < 0)
        return false;
    return (write_staple(dirfd, name, b, mode, err) && write_pem(dirfd, name, &text, mode, err)) ||
           err_wrap(err, "%s", s->path);
}

static bool holds(const void *settings, const struct bundle *b)
{
    const struct combined *s = settings;
    auto_buf struct buf text = {0};
    struct file_mode mode;
    const char *name = NULL;

    if (!owner_resolve(s->owner, s->group, &mode, NULL))
        return false;
    content(s, b, &text);
    mode.mode = s->mode;
    auto_close int dirfd = path_open_parent(s->path, false, &name, NULL);
    struct folder_file file = {name, text.data, text.len, mode};
    return dirfd >= 0 && folder_has(dirfd, &file) && has_staple(dirfd, name, b, mode);
}

/* The key's own block: a long chain beside it is no business of the key's parser. */
static struct key *read_key(const struct buf *text, struct err **err)
{
    static const char begin[] = "-----BEGIN ", label[] = "PRIVATE KEY";
    struct pem_reader r;
    struct pem_block b;

    pem_init(&r, text->data, text->len);
    while (pem_next(&r, &b, err) == PEM_BLOCK) {
        size_t len = strlen(label);
        if (b.label_len < len || memcmp(b.label + b.label_len - len, label, len) != 0)
            continue;
        const char *from = b.label - strlen(begin);
        return key_from_pem(from, (size_t)(r.at - from), err);
    }
    if (err && !*err)
        err_set(err, ERR_SYSTEM, "there is no private key in it");
    return NULL;
}

static char *current(const void *settings, struct err **err)
{
    const struct combined *s = settings;
    auto_buf struct buf text = {0};
    const char *name = NULL;
    auto_close int dirfd = path_open_parent(s->path, false, &name, err);

    buf_init(&text, CONTENT_MAX);
    text.wipe = true;
    if (dirfd < 0 || !file_read(dirfd, name, CONTENT_MAX, false, &text, err))
        return NULL;
    auto_chain struct chain *chain = chain_from_pem_file_text(text.data, text.len, err);
    if (!chain) {
        err_wrap(err, "%s", s->path);
        return NULL;
    }
    if (strv_has(&s->order, "key")) {
        auto_key struct key *key = read_key(&text, err);
        if (!key || !chain_matches_key(chain, key, err)) {
            err_wrap(err, "%s", s->path);
            return NULL;
        }
    }
    return xstrdup(chain->items[0]->sha256_hex);
}

extern const struct output_type output_type_combined;
const struct output_type output_type_combined = {
    .name = "combined",
    .help = "key, certificate and chain in one PEM file",
    .settings_size = sizeof(struct combined),
    .fields = fields,
    .check = check,
    .paths = paths,
    .write = write_combined,
    .holds = holds,
    .current = current,
};
