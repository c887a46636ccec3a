/* What the tests of hooks/ share: a loop, a folder, the end of a job, servers from their YAML. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "hooks/job.h"
#include "hooks/server.h"

struct test_hooks {
    char dir[64];
    struct loop *loop;
    unsigned calls;
    bool checked; /* it was a check that ended last */
    enum reload_result result;
    struct err *error;
    pid_t child;
};

static inline int test_remove_entry(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int test_setup(void **state)
{
    struct test_hooks *t = xcalloc(1, sizeof *t);

    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    snprintf(t->dir, sizeof t->dir, "/tmp/everleaf-hooks-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->loop = loop_new(NULL);
    assert_non_null(t->loop);
    *state = t;
    return 0;
}

static inline int test_teardown(void **state)
{
    struct test_hooks *t = *state;

    if (t->child > 0) {
        kill(t->child, SIGKILL);
        waitpid(t->child, NULL, 0);
    }
    loop_free(t->loop);
    err_free(t->error);
    nftw(t->dir, test_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return 0;
}

#define HOOK_TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

static inline void test_on_reload(enum reload_result result, const struct err *e, void *userdata)
{
    struct test_hooks *t = userdata;

    t->calls++;
    t->checked = false;
    t->result = result;
    err_free(t->error);
    t->error = err_copy(e);
    loop_exit(t->loop, 0);
}

static inline void test_on_check(const struct err *e, void *userdata)
{
    struct test_hooks *t = userdata;

    test_on_reload(e ? RELOAD_FAILED : RELOAD_DONE, e, t);
    t->checked = true;
}

static inline void test_wait(struct test_hooks *t)
{
    unsigned before = t->calls;

    while (t->calls == before)
        loop_run(t->loop);
}

/* Below the test's folder; valid until the next but three calls. */
static inline const char *test_path(const struct test_hooks *t, const char *name)
{
    static char paths[4][256];
    static unsigned n;
    char *path = paths[n++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", t->dir, name);
    return path;
}

static inline void test_put(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void test_put_pid(const char *path, pid_t pid)
{
    char text[32];

    snprintf(text, sizeof text, "%ld\n", (long)pid);
    test_put(path, text, 0644);
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

static inline void test_says(const struct err *e, const char *part)
{
    assert_non_null(e);
    if (!strstr(e->text, part) && (!e->hint || !strstr(e->hint, part)))
        fail_msg("\"%s\" (%s) does not say \"%s\"", e->text, e->hint ? e->hint : "no hint", part);
}

/* A server with these settings; problems are returned when wanted. */
static inline struct server test_server(const char *type, const char *yaml,
                                        struct problems *ret_problems)
{
    struct problems problems = {0};
    struct yaml *y = yaml_parse("test.yaml", yaml, strlen(yaml), &problems);
    struct server s = {.type = server_type_find(type), .timeout_s = 30};

    assert_non_null(s.type);
    assert_non_null(y);
    s.name = xstrdup("web");
    s.settings = xcalloc(1, s.type->settings_size);
    if (schema_read(s.type->fields, yaml_root(y), "servers.web", NULL, s.settings, NULL,
                    &problems) &&
        s.type->check_settings)
        s.type->check_settings(s.settings, yaml_root(y), "servers.web", &problems);
    yaml_free(y);
    if (!ret_problems && problems.n > 0)
        fail_msg("%s", problems.items[0].message);
    if (ret_problems)
        *ret_problems = problems;
    else
        problems_done(&problems);
    return s;
}

static inline bool test_problem(const char *type, const char *yaml, const char *part)
{
    struct problems problems = {0};
    struct server s = test_server(type, yaml, &problems);
    bool found = false;

    for (size_t i = 0; i < problems.n; i++)
        found = found || strstr(problems.items[i].message, part);
    problems_done(&problems);
    server_free(&s);
    return found;
}

/* A child that waits; with `caught` it reads that signal by sigwait and exits 0 then. It has begun
 * to wait when this returns. */
static inline pid_t test_child(struct test_hooks *t, int caught, uid_t uid)
{
    int ready[2];
    char c;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    t->child = fork();
    if (t->child == 0) {
        sigset_t set;
        int signo;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&set);
        if (caught)
            sigaddset(&set, caught);
        sigprocmask(SIG_SETMASK, &set, NULL);
        if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0))
            _exit(99);
        (void)!write(ready[1], "r", 1);
        if (caught && sigwait(&set, &signo) == 0)
            _exit(0);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return t->child;
}
