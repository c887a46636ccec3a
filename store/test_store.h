/* What the tests of store/ share: a folder of their own, a state in it, waiting for saves, and a
 * small CA for generations. */
#pragma once

#include "pki/test_ca.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/worker.h"
#include "store/generation.h"
#include "store/state.h"

struct test_store {
    char dir[64];  /* of the test */
    char path[96]; /* of the state directory in it */
    struct loop *loop;
    struct worker *worker;
    struct state *state;
    unsigned calls;    /* of test_on_save */
    struct err *error; /* of the last one */
    struct generation *made;
    struct test_pki pki;
};

static inline int test_remove_entry(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int test_store_setup(void **state)
{
    struct test_store *t = xcalloc(1, sizeof *t);

    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    snprintf(t->dir, sizeof t->dir, "/tmp/everleaf-store-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    snprintf(t->path, sizeof t->path, "%s/state", t->dir);
    t->loop = loop_new(NULL);
    assert_non_null(t->loop);
    t->worker = worker_new(t->loop, 2, NULL);
    assert_non_null(t->worker);
    test_pki_make(&t->pki);
    *state = t;
    return 0;
}

static inline int test_store_teardown(void **state)
{
    struct test_store *t = *state;

    generation_unref(t->made);
    worker_free(t->worker);
    state_free(t->state);
    loop_free(t->loop);
    err_free(t->error);
    test_pki_done(&t->pki);
    nftw(t->dir, test_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return 0;
}

static inline void test_open(struct test_store *t)
{
    auto_err struct err *e = NULL;

    t->state = state_open(t->path, STATE_OWN, t->worker, &e);
    if (!t->state)
        fail_msg("%s", e->text);
}

/* As a new start of the agent. */
static inline void test_reopen(struct test_store *t)
{
    state_free(t->state);
    test_open(t);
}

static inline void test_on_save(const struct err *e, void *userdata)
{
    struct test_store *t = userdata;

    t->calls++;
    err_free(t->error);
    t->error = err_copy(e);
    loop_exit(t->loop, 0);
}

static inline void test_on_generation(struct generation *g, const struct err *e, void *userdata)
{
    struct test_store *t = userdata;

    generation_unref(t->made);
    t->made = g;
    test_on_save(e, t);
}

/* Until one more save has called back. */
static inline void test_wait(struct test_store *t)
{
    unsigned before = t->calls;

    while (t->calls == before)
        loop_run(t->loop);
}

static inline void test_wait_good(struct test_store *t)
{
    test_wait(t);
    if (t->error)
        fail_msg("%s", t->error->text);
}

/* A path below the test's folder; valid until the next but seven calls. */
static inline const char *test_path(const struct test_store *t, const char *name)
{
    static char paths[8][512];
    static unsigned n;
    char *path = paths[n++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", t->dir, name);
    return path;
}

static inline char *test_read(const char *path)
{
    struct buf b;

    buf_init(&b, 1024 * 1024);
    bool good = file_read(AT_FDCWD, path, 1024 * 1024, true, &b, NULL);
    char *text = good ? buf_take(&b) : NULL;
    buf_done(&b);
    return text;
}

static inline void test_put(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void test_has_mode(const char *path, mode_t mode)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    if ((st.st_mode & 07777) != mode)
        fail_msg("%s has mode %04o", path, (unsigned)(st.st_mode & 07777));
}

static inline bool test_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* How many entries begin with `prefix`. */
static inline size_t test_count(const char *dir, const char *prefix)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    closedir(d);
    return n;
}

static inline void test_says(const struct err *e, const char *part)
{
    assert_non_null(e);
    if (!strstr(e->text, part) && (!e->hint || !strstr(e->hint, part)))
        fail_msg("\"%s\" (%s) does not say \"%s\"", e->text, e->hint ? e->hint : "no hint", part);
}

/* A chain for a new key; both are the caller's. */
static inline struct chain *test_new_chain(struct test_store *t, long serial, struct key **ret_key)
{
    *ret_key = test_key();
    struct cert *leaf = test_leaf(&t->pki, (struct test_spec){.key = *ret_key, .serial = serial});

    return test_chain(&t->pki, leaf);
}

static inline struct generation_job *test_start_generation(struct test_store *t, const char *name,
                                                           long serial)
{
    auto_key struct key *key = NULL;
    auto_chain struct chain *chain = test_new_chain(t, serial, &key);
    auto_json json_t *info = json_object();

    json_put_str(info, "issuer", "letsencrypt");
    json_put_str(info, "directory", "https://ca.example/dir");
    return generation_write(t->state, name, chain, key, info, test_on_generation, t);
}

/* Writes the next generation; its number. */
static inline int64_t test_generation(struct test_store *t, const char *name)
{
    test_start_generation(t, name, 0);
    test_wait_good(t);
    assert_non_null(t->made);
    return t->made->number;
}

/* Runs fn in a child with another user's rights; its exit status. */
static inline int test_as_user(uid_t uid, int (*fn)(struct test_store *t), struct test_store *t)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (setgid(uid) != 0 || setuid(uid) != 0)
            _exit(99);
        _exit(fn(t));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, test_store_setup, test_store_teardown)
