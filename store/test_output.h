/* Outputs from their YAML, as the configuration makes them. */
#pragma once

#include "store/output.h"
#include "store/test_store.h"

/* A settings map such as "{dir: /x}"; problems are counted in ret_problems (NULL: there are none).
 */
static inline struct output test_output(const char *type, const char *yaml,
                                        struct problems *ret_problems)
{
    struct problems problems = {0};
    struct yaml *y = yaml_parse("test.yaml", yaml, strlen(yaml), &problems);
    struct output o = {.type = output_type_find(type)};
    auto_strv struct strv paths = {0};

    assert_non_null(o.type);
    assert_non_null(y);
    o.settings = xcalloc(1, o.type->settings_size);
    if (schema_read(o.type->fields, yaml_root(y), "out", NULL, o.settings, NULL, &problems)) {
        o.type->check(o.settings, yaml_root(y), "out", &problems);
        o.type->paths(o.settings, &paths);
        o.path = xstrdup(paths.items[0]);
    }
    if (!ret_problems && problems.n > 0)
        fail_msg("%s", problems.items[0].message);
    yaml_free(y);
    if (ret_problems)
        *ret_problems = problems;
    else
        problems_done(&problems);
    return o;
}

static inline bool test_problem(const char *type, const char *yaml, const char *part)
{
    struct problems problems = {0};
    struct output o = test_output(type, yaml, &problems);
    bool found = false;

    for (size_t i = 0; i < problems.n; i++)
        found = found || strstr(problems.items[i].message, part);
    problems_done(&problems);
    output_done(&o);
    return found;
}

/* A bundle with a new key and certificate; the leaf's SHA-256 in ret_sha256 (may be NULL). */
static inline void test_bundle(struct test_store *t, struct bundle *b, char **ret_sha256)
{
    auto_key struct key *key = NULL;
    auto_chain struct chain *chain = test_new_chain(t, 0, &key);
    auto_secret struct secret *pem = key_to_pem(key);

    bundle_make(b, chain, pem);
    if (ret_sha256)
        *ret_sha256 = xstrdup(chain->items[0]->sha256_hex);
}

static inline void test_write(const struct output *o, const struct bundle *b)
{
    auto_err struct err *e = NULL;

    if (!o->type->write(o->settings, b, &e))
        fail_msg("%s", e->text);
    assert_true(o->type->holds(o->settings, b));
}

static inline void test_serves(const struct output *o, const char *sha256)
{
    auto_err struct err *e = NULL;
    auto_free char *have = o->type->current(o->settings, &e);

    if (!have)
        fail_msg("%s", e->text);
    assert_string_equal(have, sha256);
}

/* Everything that tells one version of a file from another. */
static inline void test_stat(const char *path, struct stat *ret)
{
    assert_int_equal(stat(path, ret), 0);
}

static inline bool test_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static inline void test_has_text(const char *path, const struct buf *want)
{
    auto_free char *text = test_read(path);

    assert_non_null(text);
    assert_int_equal(strlen(text), want->len);
    assert_memory_equal(text, want->data, want->len);
}
