#include "store/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/folder.h"
#include "store/generation_private.h"

#define NUMBER_DIGITS_MAX 15
#define INFO_MAX          (1024 * 1024) /* of bundle.json */

/* Life ---------------------------------------------------------------------------------------- */

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

void generation_unref(struct generation *g)
{
    if (!g || --g->refs > 0)
        return;
    chain_free(g->chain);
    key_unref(g->key);
    secret_free(g->key_pem);
    json_decref(g->info);
    free(g);
}

static void generation_unref_p(struct generation **g)
{
    generation_unref(*g);
}
#define auto_generation __attribute__((cleanup(generation_unref_p)))

const char *generation_sha256(const struct generation *g)
{
    return g->chain->items[0]->sha256_hex;
}

/* Names --------------------------------------------------------------------------------------- */

char *generation_folder_name(int64_t number)
{
    return xasprintf("%06" PRId64, number);
}

int64_t generation_number_of(const char *name)
{
    int64_t number = 0;
    size_t n = 0;

    for (; name[n] >= '0' && name[n] <= '9' && n < NUMBER_DIGITS_MAX; n++)
        number = number * 10 + (name[n] - '0');
    if (name[n] != '\0')
        return 0;
    auto_free char *canonical = generation_folder_name(number);
    return strcmp(canonical, name) == 0 ? number : 0;
}

int64_t generation_live_number(int dirfd)
{
    auto_free char *target = file_readlink(dirfd, GENERATION_LINK, NULL);
    const char *prefix = "generations/";

    if (!target || strncmp(target, prefix, strlen(prefix)) != 0)
        return 0;
    return generation_number_of(target + strlen(prefix));
}

char *generation_live_path(const struct state *s, const char *certificate)
{
    return xasprintf("%s/live/%s", s->path, certificate);
}

/* Folders ------------------------------------------------------------------------------------- */

int generation_open_all(struct state *s, const char *certificate, bool create, struct err **err)
{
    auto_close int fd = state_certificate_dir(s, certificate, create, err);

    return fd < 0 ? -1 : state_folder(s, fd, "generations", STATE_SHARED, create, err);
}

/* A state directory opened to its group later: the files follow as the folders do. */
static void share_files(const struct state *s, int fd)
{
    struct file_mode mode = state_file_mode(s, STATE_SHARED);
    auto_err struct err *e = NULL;
    struct stat st;

    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        auto_close int file =
            openat(fd, bundle_names[i], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (file < 0 || fstat(file, &st) != 0 || !S_ISREG(st.st_mode) ||
            ((st.st_mode & 0040) && st.st_gid == s->group))
            continue; /* what is wrong with it is found when it is read */
        if (fchown(file, (uid_t)-1, mode.gid) != 0 || fchmod(file, mode.mode) != 0) {
            err_set_errno(&e, errno, "%s", bundle_names[i]);
            folder_owner_hint(&e);
            log_failure(LOG_LEVEL_WARNING, e, "not opened to the group of the state directory");
            return;
        }
    }
}

static int open_one(struct state *s, const char *certificate, int64_t number, struct err **err)
{
    auto_free char *name = generation_folder_name(number);
    auto_close int all = generation_open_all(s, certificate, false, err);
    auto_close int fd = all < 0 ? -1 : state_folder(s, all, name, STATE_SHARED, false, err);

    if (fd >= 0 && s->access == STATE_OWN && s->shared)
        share_files(s, fd);
    int opened = fd;
    fd = -1;
    return opened;
}

static bool read_parts(const struct state *s, int fd, struct bundle *b, struct err **err)
{
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        if (!state_read(s, fd, bundle_names[i], BUNDLE_PART_MAX, &b->parts[i], err))
            return false;
    }
    return true;
}

static json_t *read_info(const struct state *s, int fd, int64_t number, struct err **err)
{
    auto_buf struct buf text = {0};
    int64_t version = 0, n = 0;

    buf_init(&text, INFO_MAX);
    if (!state_read(s, fd, GENERATION_INFO, INFO_MAX, &text, err))
        return NULL;
    auto_json json_t *info = json_parse(text.data, text.len, err);
    if (!info || !json_need_int(info, "version", &version, err) ||
        !json_need_int(info, "number", &n, err)) {
        err_wrap(err, GENERATION_INFO);
        return NULL;
    }
    if (version > GENERATION_VERSION) {
        err_set(err, ERR_SYSTEM, GENERATION_INFO " was written by a newer release (version %lld)",
                (long long)version);
        return NULL;
    }
    if (n != number) {
        err_set(err, ERR_SYSTEM, GENERATION_INFO " is that of generation %lld", (long long)n);
        return NULL;
    }
    return take(info);
}

static bool damaged(int64_t number, const char *certificate, struct err **err)
{
    return err_wrap(err, "generation %lld of %s", (long long)number, certificate);
}

/* Facts --------------------------------------------------------------------------------------- */

json_t *generation_info_make(const json_t *info, const struct generation *g)
{
    const struct cert *leaf = g->chain->items[0];
    auto_bundle struct bundle b;
    json_t *j = json_deep_copy(info);

    bundle_make(&b, g->chain, g->key_pem);
    auto_free char *digest = bundle_digest(&b);
    json_put_int(j, "version", GENERATION_VERSION);
    json_put_str(j, "sha256", leaf->sha256_hex);
    json_put_str(j, "serial", leaf->serial_hex);
    json_put_strv(j, "names", &leaf->names);
    json_put_time(j, "not_before", leaf->not_before);
    json_put_time(j, "not_after", leaf->not_after);
    json_put_str(j, "issuer_cn", leaf->issuer_cn);
    json_put_str(j, "key_type", leaf->key_type_name);
    json_put_str(j, "digest", digest);
    return j;
}

static bool files_are_whole(const json_t *info, const struct bundle *b, struct err **err)
{
    const char *want = json_str(info, "digest");
    auto_free char *have = want ? bundle_digest(b) : NULL;

    if (want)
        return strcmp(want, have) == 0 ||
               err_set(err, ERR_SYSTEM, "the files are not those that were written");
    auto_chain struct chain *chain = NULL;
    auto_key struct key *key = NULL;
    return bundle_parse(b, &chain, &key, err);
}

static bool read_facts(const json_t *info, struct generation_facts *f, struct err **err)
{
    const char *sha256 = NULL, *serial = NULL;

    if (!json_need_string(info, "sha256", &sha256, err) ||
        !json_need_string(info, "serial", &serial, err))
        return false;
    f->sha256 = xstrdup(sha256);
    f->serial = xstrdup(serial);
    f->not_before = json_time(info, "not_before");
    f->not_after = json_time(info, "not_after");
    f->created_at = json_time(info, "created_at");
    f->issuer_cn = xstrdup(json_str(info, "issuer_cn"));
    f->key_type = xstrdup(json_str(info, "key_type"));
    f->issuer = xstrdup(json_str(info, "issuer"));
    f->directory = xstrdup(json_str(info, "directory"));
    f->ari_id = xstrdup(json_str(info, "ari_id"));
    json_read_strv(info, "names", &f->names);
    return f->not_after > f->not_before || err_set(err, ERR_SYSTEM, "no validity");
}

bool generation_facts(struct state *s, const char *certificate, int64_t number,
                      struct generation_facts *ret, struct bundle *ret_bundle, struct err **err)
{
    struct generation_facts f = {.number = number};
    auto_bundle struct bundle b;
    auto_close int fd = open_one(s, certificate, number, err);
    auto_json json_t *info = fd < 0 ? NULL : read_info(s, fd, number, err);

    bundle_init(&b);
    if (!info || !read_parts(s, fd, &b, err) || !files_are_whole(info, &b, err))
        return damaged(number, certificate, err);
    if (!read_facts(info, &f, err)) {
        generation_facts_done(&f);
        err_wrap(err, GENERATION_INFO);
        return damaged(number, certificate, err);
    }
    *ret = f;
    if (ret_bundle) {
        *ret_bundle = b;
        bundle_init(&b);
    }
    return true;
}

void generation_facts_done(struct generation_facts *f)
{
    free(f->sha256);
    free(f->serial);
    free(f->issuer_cn);
    free(f->key_type);
    free(f->issuer);
    free(f->directory);
    free(f->ari_id);
    strv_done(&f->names);
    *f = (struct generation_facts){0};
}

/* Public -------------------------------------------------------------------------------------- */

bool generation_list(struct state *s, const char *certificate, struct generation_list *ret,
                     struct err **err)
{
    auto_err struct err *e = NULL;
    auto_strv struct strv names = {0};
    auto_close int dirfd = state_certificate_dir(s, certificate, false, &e);
    auto_close int all =
        dirfd < 0 ? -1 : state_folder(s, dirfd, "generations", STATE_SHARED, false, &e);

    *ret = (struct generation_list){0};
    if (all < 0)
        return err_is_absent(e) || err_move(err, &e);
    if (!file_list(all, &names, err))
        return false;

    int64_t live = generation_live_number(dirfd);
    ret->numbers = xcalloc(names.n, sizeof *ret->numbers);
    for (size_t i = 0; i < names.n; i++) {
        int64_t number = generation_number_of(names.items[i]);
        size_t at = ret->n;
        if (number == 0)
            continue;
        for (; at > 0 && ret->numbers[at - 1] > number; at--) /* "1000000" sorts before "999999" */
            ret->numbers[at] = ret->numbers[at - 1];
        ret->numbers[at] = number;
        ret->n++;
        if (number == live)
            ret->live = live;
    }
    return true;
}

void generation_list_done(struct generation_list *l)
{
    free(l->numbers);
    *l = (struct generation_list){0};
}

struct generation *generation_load(struct state *s, const char *certificate, int64_t number,
                                   struct err **err)
{
    auto_bundle struct bundle b;
    auto_close int fd = open_one(s, certificate, number, err);
    auto_generation struct generation *g = xcalloc(1, sizeof *g);

    bundle_init(&b);
    g->refs = 1;
    g->number = number;
    g->info = fd < 0 ? NULL : read_info(s, fd, number, err);
    if (!g->info || !read_parts(s, fd, &b, err) || !bundle_parse(&b, &g->chain, &g->key, err)) {
        damaged(number, certificate, err);
        return NULL;
    }
    const struct buf *pem = &b.parts[BUNDLE_KEY];
    g->key_pem = secret_new(pem->data, pem->len);
    return take(g);
}
