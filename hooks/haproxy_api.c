/* Strategy: `show ssl cert` lists what is loaded; the files among them that hold a leaf of the
 * batch become entries; each entry is a transaction of its own (HAProxy has one at a time):
 *
 *   [abort]  ->  set ssl cert PATH  ->  [set ssl cert PATH.ocsp]  ->  commit ssl cert PATH
 *
 * One command per connection, the reply ends with it. After a step that failed: abort, then tell.
 */
#include "hooks/haproxy_api.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/enc.h"
#include "base/file.h"
#include "base/log.h"
#include "hooks/dialogue.h"
#include "hooks/pem_text.h"

#define LIST_MAX  (8 * 1024 * 1024)
#define REPLY_MAX 65536
#define FILE_MAX  (256 * 1024)
#define DER_MAX   65536
#define AT_ONCE   64 /* files looked at per turn of the loop */
#define QUOTE_MAX 400

enum step { STEP_LIST, STEP_CLEAN, STEP_SET, STEP_STAPLE, STEP_COMMIT, STEP_ABORT };

/* A certificate of the batch. */
struct wanted {
    char *name, *staple;
    struct strv leaves; /* PEM; several for a pair of key types */
    bool found;
};

/* A file of HAProxy that holds one. */
struct entry {
    char *path;
    char *staple; /* base64, or NULL */
    struct buf pem;
};

struct haproxy_api {
    struct loop *loop;
    char *socket;
    int64_t timeout_ms;
    struct wanted *wanted;
    size_t n_wanted;
    struct strv loaded; /* paths */
    char *open;         /* path of a transaction somebody left open, or NULL */
    size_t looked_at;   /* of loaded */
    struct entry *entries;
    size_t n_entries, at;
    enum step step;
    struct dialogue *dialogue; /* one of these */
    struct timer *turn;
    enum haproxy_api_result result;
    struct err *err;
    bool called;
    haproxy_api_fn *fn;
    void *userdata;
};

void haproxy_api_free(struct haproxy_api *a)
{
    if (!a || a->called)
        return;
    dialogue_free(a->dialogue);
    timer_free(a->turn);
    for (size_t i = 0; i < a->n_wanted; i++) {
        free(a->wanted[i].name);
        free(a->wanted[i].staple);
        strv_done(&a->wanted[i].leaves);
    }
    for (size_t i = 0; i < a->n_entries; i++) {
        free(a->entries[i].path);
        free(a->entries[i].staple);
        buf_done(&a->entries[i].pem);
    }
    free(a->wanted);
    free(a->entries);
    strv_done(&a->loaded);
    free(a->open);
    free(a->socket);
    err_free(a->err);
    free(a);
}

static void on_told(void *userdata)
{
    struct haproxy_api *a = userdata;

    a->called = true;
    a->fn(a->result, a->err, a->userdata);
    a->called = false;
    haproxy_api_free(a);
}

static void on_later(struct haproxy_api *a, timer_fn *fn)
{
    timer_free(a->turn);
    a->turn = timer_after(a->loop, 0, fn, a);
}

static void tell(struct haproxy_api *a, enum haproxy_api_result result)
{
    a->result = result;
    on_later(a, on_told);
}

/* Replies -------------------------------------------------------------------------------------- */

/* Whether a line of the reply begins so. */
static bool has_line(const char *reply, const char *begin, bool whole)
{
    size_t len = strlen(begin);

    for (const char *at = reply; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, begin, len) == 0 && (!whole || at[len] == '\n' || at[len] == '\0'))
            return true;
    }
    return false;
}

static bool is_good(const struct haproxy_api *a, const char *reply)
{
    switch (a->step) {
    case STEP_SET:
    case STEP_STAPLE:
        return has_line(reply, "Transaction created for certificate ", false) ||
               has_line(reply, "Transaction updated for certificate ", false);
    case STEP_COMMIT:
        return has_line(reply, "Success!", true);
    case STEP_LIST:
        return has_line(reply, "# filename", true);
    case STEP_CLEAN:
    case STEP_ABORT:
        return true; /* nothing to abort is fine */
    }
    return false;
}

static void refused(struct haproxy_api *a, const char *reply, size_t len)
{
    static const char *const doing[] = {
        [STEP_LIST] = "the list of its certificates",
        [STEP_CLEAN] = "abort ssl cert",
        [STEP_SET] = "set ssl cert",
        [STEP_STAPLE] = "set ssl cert with a staple",
        [STEP_COMMIT] = "commit ssl cert",
        [STEP_ABORT] = "abort ssl cert",
    };
    const char *path = a->at < a->n_entries ? a->entries[a->at].path : "";

    while (len > 0 && (reply[len - 1] == '\n' || reply[len - 1] == ' '))
        len--;
    int quoted = len < QUOTE_MAX ? (int)len : QUOTE_MAX;
    err_set(&a->err, ERR_REFUSED, "HAProxy at %s did not accept %s%s%s: \"%.*s\"", a->socket,
            doing[a->step], *path ? " " : "", path, quoted, reply);
    if (strstr(reply, "Permission denied"))
        err_hint(&a->err, "the socket needs \"level admin\" in HAProxy's configuration");
}

/* Steps ---------------------------------------------------------------------------------------- */

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata);

static void send_command(struct haproxy_api *a, enum step step, const struct buf *command)
{
    struct dialogue_spec spec = {
        .address = a->socket,
        .request = command->data,
        .request_len = command->len,
        .reply_max = step == STEP_LIST ? LIST_MAX : REPLY_MAX,
        .timeout_ms = a->timeout_ms,
    };

    a->step = step;
    a->dialogue = dialogue_start(a->loop, &spec, on_reply, a);
}

static void send_line(struct haproxy_api *a, enum step step, const char *verb, const char *path)
{
    struct buf command;

    buf_init(&command, 8192);
    buf_addf(&command, "%s%s%s\n", verb, path ? " " : "", path ? path : "");
    send_command(a, step, &command);
    buf_done(&command);
}

static void send_set(struct haproxy_api *a)
{
    const struct entry *e = &a->entries[a->at];
    struct buf command;

    buf_init(&command, FILE_MAX * 3);
    command.wipe = true;
    buf_addf(&command, "set ssl cert %s <<\n", e->path);
    buf_add(&command, e->pem.data, e->pem.len);
    buf_add_str(&command, "\n");
    send_command(a, STEP_SET, &command);
    buf_done(&command);
}

static void send_staple(struct haproxy_api *a)
{
    const struct entry *e = &a->entries[a->at];
    struct buf command;

    buf_init(&command, DER_MAX * 2 + 8192);
    buf_addf(&command, "set ssl cert %s.ocsp <<\n%s\n\n", e->path, e->staple);
    send_command(a, STEP_STAPLE, &command);
    buf_done(&command);
}

static void next_entry(struct haproxy_api *a)
{
    if (a->at == a->n_entries)
        tell(a, HAPROXY_API_DONE);
    else if (a->open)
        send_line(a, STEP_CLEAN, "abort ssl cert", a->open);
    else
        send_set(a);
}

/* Which are ours ------------------------------------------------------------------------------- */

static bool read_text(const char *path, size_t max, struct buf *ret)
{
    buf_init(ret, max);
    ret->wipe = true;
    return file_read(AT_FDCWD, path, max, true, ret, NULL);
}

static void add_leaf(struct wanted *w, const char *path)
{
    auto_buf struct buf text;

    if (read_text(path, FILE_MAX, &text)) {
        char *leaf = pem_text_leaf(text.data, text.len);
        if (leaf)
            strv_add_owned(&w->leaves, leaf);
    }
}

static void want(struct haproxy_api *a, const struct hook_certificate *c)
{
    struct wanted *w = &a->wanted[a->n_wanted++];
    static const char *const more[] = {"rsa", "ecdsa"};

    w->name = xstrdup(c->name);
    w->staple = xstrdup(c->staple);
    add_leaf(w, c->fullchain);
    for (size_t i = 0; i < ARRAY_LEN(more) && c->dir; i++) {
        auto_free char *path = xasprintf("%s/%s/fullchain.pem", c->dir, more[i]);
        add_leaf(w, path);
    }
}

static struct wanted *find_wanted(const struct haproxy_api *a, const char *leaf)
{
    for (size_t i = 0; i < a->n_wanted; i++) {
        if (strv_has(&a->wanted[i].leaves, leaf))
            return &a->wanted[i];
    }
    return NULL;
}

static char *read_staple(const char *path)
{
    auto_buf struct buf der = {0};

    return path && read_text(path, DER_MAX, &der) && der.len > 0 ? enc_base64(der.data, der.len)
                                                                 : NULL;
}

static void look_at_file(struct haproxy_api *a, const char *path)
{
    auto_buf struct buf text, key;
    auto_free char *key_path = xasprintf("%s.key", path);
    struct entry e = {.path = xstrdup(path)};

    bool is_there = read_text(path, FILE_MAX, &text);
    auto_free char *leaf = is_there ? pem_text_leaf(text.data, text.len) : NULL;
    struct wanted *w = leaf ? find_wanted(a, leaf) : NULL;
    buf_init(&key, FILE_MAX);
    buf_init(&e.pem, 2 * FILE_MAX);
    e.pem.wipe = true;
    bool good = w && pem_text_blocks(text.data, text.len, &e.pem);
    if (good && !pem_text_has_key(text.data)) {
        buf_done(&key);
        good = read_text(key_path, FILE_MAX, &key) && pem_text_blocks(key.data, key.len, &e.pem);
    }
    if (!good) {
        free(e.path);
        buf_done(&e.pem);
        return;
    }
    w->found = true;
    e.staple = read_staple(w->staple);
    a->entries = xreallocarray(a->entries, a->n_entries + 1, sizeof(e));
    a->entries[a->n_entries++] = e;
}

static void look_at_files(void *userdata)
{
    struct haproxy_api *a = userdata;

    for (size_t n = 0; n < AT_ONCE && a->looked_at < a->loaded.n; n++)
        look_at_file(a, a->loaded.items[a->looked_at++]);
    if (a->looked_at < a->loaded.n) {
        on_later(a, look_at_files);
        return;
    }
    for (size_t i = 0; i < a->n_wanted; i++) {
        if (a->wanted[i].found)
            continue;
        err_set(&a->err, ERR_REFUSED,
                "none of the files that HAProxy at %s has loaded holds the new certificate %s",
                a->socket, a->wanted[i].name);
        err_hint(&a->err, "name its output of type combined by `crt` in HAProxy's configuration "
                          "and reload it once");
        tell(a, HAPROXY_API_NEW);
        return;
    }
    next_entry(a);
}

/* "# transaction", "*PATH" or "<none>", "# filename", PATH... A path that could not be a word of a
 * command is left out. */
static void take_list(struct haproxy_api *a, const char *reply)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+@=,:%~";

    for (const char *at = reply; *at;) {
        size_t len = strcspn(at, "\n");
        bool open = at[0] == '*';
        auto_free char *path = xstrndup(at + open, len - open);
        if (path[0] == '/' && len < 4096 && path[strspn(path, plain)] == '\0') {
            if (open)
                set_string(&a->open, take(path));
            else
                strv_add(&a->loaded, path);
        }
        at += len + (at[len] == '\n');
    }
    on_later(a, look_at_files);
}

static void go_on(struct haproxy_api *a, const char *reply)
{
    switch (a->step) {
    case STEP_LIST:
        take_list(a, reply);
        break;
    case STEP_CLEAN:
        set_string(&a->open, NULL);
        next_entry(a);
        break;
    case STEP_SET:
        if (a->entries[a->at].staple) {
            send_staple(a);
            break;
        }
        __attribute__((fallthrough));
    case STEP_STAPLE:
        send_line(a, STEP_COMMIT, "commit ssl cert", a->entries[a->at].path);
        break;
    case STEP_COMMIT:
        a->at++;
        next_entry(a);
        break;
    case STEP_ABORT:
        tell(a, HAPROXY_API_FAILED);
        break;
    }
}

/* It wants more of a staple than being good (300 s left, its own idea of the CertID): that must not
 * cost the certificate. */
static void go_on_without_staple(struct haproxy_api *a)
{
    struct entry *e = &a->entries[a->at];

    log_failure(LOG_LEVEL_WARNING, a->err, "staple not taken", "file", e->path);
    err_free(a->err);
    a->err = NULL;
    set_string(&e->staple, NULL);
    set_string(&a->open, xstrdup(e->path));
    next_entry(a);
}

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata)
{
    struct haproxy_api *a = userdata;

    a->dialogue = NULL;
    if (a->step == STEP_ABORT) { /* however that went, the first error is told */
        tell(a, HAPROXY_API_FAILED);
        return;
    }
    if (reply && strlen(reply) == len && is_good(a, reply)) {
        go_on(a, reply);
        return;
    }
    if (e)
        a->err = err_copy(e);
    else
        refused(a, reply, len);
    if (a->step == STEP_STAPLE)
        go_on_without_staple(a);
    else if (a->step == STEP_LIST || a->step == STEP_CLEAN)
        tell(a, dialogue_is_absent(a->err) ? HAPROXY_API_ABSENT : HAPROXY_API_FAILED);
    else
        send_line(a, STEP_ABORT, "abort ssl cert", a->entries[a->at].path);
}

struct haproxy_api *haproxy_api_start(struct loop *l, const char *socket,
                                      const struct hook_event *event, int64_t timeout_ms,
                                      haproxy_api_fn *fn, void *userdata)
{
    struct haproxy_api *a = xcalloc(1, sizeof(*a));

    *a = (struct haproxy_api){.loop = l,
                              .socket = xstrdup(socket),
                              .timeout_ms = timeout_ms,
                              .fn = fn,
                              .userdata = userdata};
    a->wanted = xcalloc(event->n_batch + 1, sizeof(*a->wanted));
    for (size_t i = 0; i < event->n_batch; i++)
        want(a, &event->batch[i]);
    send_line(a, STEP_LIST, "show ssl cert", NULL);
    return a;
}
