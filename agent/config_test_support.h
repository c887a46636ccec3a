/* For the tests of the configuration: files in a folder of their own, and what is said about them.
 */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config.h"
#include "base/file.h"

struct place {
    char folder[32];
    int fd;
    struct problems problems; /* of the last load */
};

static inline int place_make(void **state)
{
    struct place *p = xcalloc(1, sizeof(*p));

    snprintf(p->folder, sizeof(p->folder), "/tmp/config-test-XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    p->fd = file_open_dir(AT_FDCWD, p->folder, false, 0, NULL);
    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    *state = p;
    return p->fd < 0 ? -1 : 0;
}

static inline int place_remove(void **state)
{
    struct place *p = *state;

    problems_done(&p->problems);
    close(p->fd);
    bool good = file_remove(AT_FDCWD, p->folder, NULL);
    free(p);
    return good ? 0 : -1;
}

static inline char *place_write(struct place *p, const char *name, const char *text)
{
    const struct file_mode mode = {0644, FILE_KEEP_OWNER, (gid_t)-1};
    auto_err struct err *e = NULL;

    if (!file_write(p->fd, name, text, strlen(text), mode, &e))
        fail_msg("%s", e->text);
    return xasprintf("%s/%s", p->folder, name);
}

/* Loads `text` as everleaf.yaml of the place. */
static inline struct config *place_load(struct place *p, const char *text)
{
    auto_free char *file = place_write(p, "everleaf.yaml", text);

    problems_done(&p->problems);
    return config_load(file, &p->problems);
}

static inline void place_show(const struct place *p)
{
    for (size_t i = 0; i < p->problems.n; i++) {
        auto_free char *text = problem_text(&p->problems.items[i], false);

        print_message("%s", text);
    }
}

/* No problem, not even a warning. */
static inline struct config *place_load_good(struct place *p, const char *text)
{
    struct config *c = place_load(p, text);

    place_show(p);
    assert_non_null(c);
    assert_int_equal(p->problems.n, 0);
    return c;
}

/* A problem at a line (0: anywhere) whose message contains `part`; NULL: there is none. */
static inline const struct problem *place_problem(const struct place *p, int line, const char *part)
{
    for (size_t i = 0; i < p->problems.n; i++) {
        const struct problem *problem = &p->problems.items[i];

        if ((line == 0 || problem->line == line) && strstr(problem->message, part))
            return problem;
    }
    return NULL;
}

static inline const struct problem *place_refuses(struct place *p, const char *text, int line,
                                                  const char *part)
{
    struct config *c = place_load(p, text);
    const struct problem *problem = place_problem(p, line, part);

    if (c || !problem || problem->warning) {
        place_show(p);
        fail_msg("%s\nis not refused at line %d for \"%s\"", text, line, part);
    }
    return problem;
}
