#include "agent/inspection.h"
#include "store/staple.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "pki/test_ca.h"

static struct test_pki pki;
static char dir[] = "/tmp/everleaf-inspection-XXXXXX";
static char *leaf_pem, *chain_pem, *key_pem, *other_key_pem;
static struct chain *chain;

/* Takes the place of store/generation: what is on disk is what a test says. */
static struct chain *live, *older;
static bool live_unreadable;

bool generation_list(struct state *s, const char *certificate, struct generation_list *ret,
                     struct err **err)
{
    (void)s;
    if (strcmp(certificate, "www") != 0)
        return err_set_errno(err, ENOENT, "no such certificate");
    *ret = (struct generation_list){.numbers = xcalloc(2, sizeof(int64_t)), .n = 2, .live = 8};
    ret->numbers[0] = 7;
    ret->numbers[1] = 8;
    return true;
}

void generation_list_done(struct generation_list *l)
{
    free(l->numbers);
}

bool generation_facts(struct state *s, const char *certificate, int64_t number,
                      struct generation_facts *ret, struct bundle *ret_bundle, struct err **err)
{
    (void)s;
    (void)certificate;
    assert_null(ret_bundle);
    if (number == 8 && live_unreadable)
        return err_set_errno(err, EACCES, "privkey.pem");
    *ret = (struct generation_facts){.number = number,
                                     .sha256 = (number == 8 ? live : older)->items[0]->sha256_hex};
    return true;
}

bool staple_load(struct state *s, const char *certificate, int64_t number, struct buf *ret,
                 struct err **err)
{
    (void)s;
    (void)certificate;
    (void)ret;
    return err_set(err, ERR_SYSTEM, "no staple of generation %lld", (long long)number);
}

void generation_facts_done(struct generation_facts *f)
{
    (void)f;
}

static char *text_of_key(const struct key *k)
{
    auto_secret struct secret *pem = key_to_pem(k);
    return xstrdup((char *)pem->data);
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    test_pki_make(&pki);
    chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    chain_pem = chain_to_pem(chain, 0);
    auto_chain struct chain *alone = xcalloc(1, sizeof *alone);
    chain_add(alone, test_copy(chain->items[0]));
    leaf_pem = chain_to_pem(alone, 0);
    key_pem = text_of_key(pki.leaf_key);
    other_key_pem = text_of_key(pki.ca_key);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    chain_free(chain);
    free(leaf_pem);
    free(chain_pem);
    free(key_pem);
    free(other_key_pem);
    test_pki_done(&pki);
    return rmdir(dir);
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static void put(const char *name, const char *text, const char *more)
{
    auto_free char *path = path_of(name);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fprintf(f, "%s%s", text, more);
    fclose(f);
}

static void drop(const char *name)
{
    auto_free char *path = path_of(name);
    assert_int_equal(unlink(path), 0);
}

static void read_one(struct inspection *i, const char *text, const char *more)
{
    auto_free char *path = path_of("x.pem");
    auto_err struct err *e = NULL;

    put("x.pem", text, more);
    if (!inspection_read(i, path, &e))
        fail_msg("%s", e->text);
    drop("x.pem");
}

static void knows_a_pair_from_a_mismatched_one(void **state)
{
    (void)state;
    struct inspection good = {0}, bad = {0}, swapped = {0};

    read_one(&good, chain_pem, key_pem);
    read_one(&bad, chain_pem, other_key_pem);
    read_one(&swapped, key_pem, chain_pem); /* combined files begin with the key */
    assert_int_equal(good.key, INSPECTED_KEY_MATCHES);
    assert_int_equal(swapped.key, INSPECTED_KEY_MATCHES);
    assert_int_equal(inspection_exit(&good), 0);
    assert_int_equal(bad.key, INSPECTED_KEY_OTHER);
    assert_int_equal(inspection_exit(&bad), 3);
    auto_json json_t *j = inspection_to_json(&bad);
    assert_int_equal(json_int(j, "exit"), 3);
    assert_true(json_bool(json_get(j, "key"), "present"));
    assert_true(json_is_false(json_get(json_get(j, "key"), "matches")));
    inspection_done(&good);
    inspection_done(&bad);
    inspection_done(&swapped);
}

static void a_key_that_cannot_be_compared_is_no_mismatch(void **state)
{
    (void)state;
    struct inspection i = {0}, alone = {0};

    read_one(&i, leaf_pem,
             "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    read_one(&alone, key_pem, "");
    auto_json json_t *j = inspection_to_json(&i);
    auto_json json_t *k = inspection_to_json(&alone);

    assert_int_equal(inspection_exit(&i), 0);
    assert_true(json_bool(json_get(j, "key"), "present"));
    assert_true(json_is_null(json_get(json_get(j, "key"), "matches")));
    assert_true(json_is_null(json_get(k, "leaf")));
    assert_true(json_is_null(json_get(k, "trust")));
    assert_true(json_is_null(json_get(json_get(k, "key"), "matches")));
    inspection_done(&i);
    inspection_done(&alone);
}

static void reads_a_folder_as_those_in_live_are(void **state)
{
    (void)state;
    struct inspection i = {0};
    auto_err struct err *e = NULL;

    put("fullchain.pem", chain_pem, "");
    put("cert.pem", leaf_pem, "");
    put("privkey.pem", key_pem, "");
    assert_true(inspection_read(&i, dir, NULL));
    assert_int_equal(i.chain->n, 2);
    assert_int_equal(i.key, INSPECTED_KEY_MATCHES);
    inspection_done(&i);

    drop("fullchain.pem");
    drop("privkey.pem");
    assert_true(inspection_read(&i, dir, NULL));
    assert_int_equal(i.chain->n, 1);
    assert_int_equal(i.key, INSPECTED_NO_KEY);
    inspection_done(&i);

    drop("cert.pem");
    assert_false(inspection_read(&i, dir, &e));
    assert_int_equal(e->code, ENOENT);
    inspection_done(&i);
}

static void refuses_what_holds_nothing_or_is_broken(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
        "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
    };

    for (size_t n = 0; n < ARRAY_LEN(texts); n++) {
        struct inspection i = {0};
        auto_free char *path = path_of("x.pem");
        auto_err struct err *e = NULL;
        put("x.pem", texts[n], "");
        assert_false(inspection_read(&i, path, &e));
        assert_non_null(strstr(e->text, "x.pem"));
        inspection_done(&i);
        drop("x.pem");
    }
}

static void an_unknown_ca_is_no_failure_but_expiry_is(void **state)
{
    (void)state;
    struct inspection i = {0}, expired = {0};
    auto_chain struct chain *old =
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = -7200, .to_s = -3600}));
    auto_free char *old_pem = chain_to_pem(old, 0);

    read_one(&i, chain_pem, "");
    inspection_judge(&i, NULL, NULL, clock_now());
    assert_string_equal(i.trust, "unknown-ca");
    assert_int_equal(inspection_exit(&i), 0);
    read_one(&expired, old_pem, "");
    inspection_judge(&expired, NULL, NULL, clock_now());
    assert_string_equal(expired.trust, "expired");
    assert_int_equal(inspection_exit(&expired), 3);
    inspection_done(&i);
    inspection_done(&expired);
}

static void takes_what_an_endpoint_showed(void **state)
{
    (void)state;
    struct inspection i = {.connect = xstrdup("127.0.0.1:443")};
    struct probe_result result = {.chain = chain,
                                  .version = "TLSv1.3",
                                  .cipher = "TLS_AES_256_GCM_SHA384",
                                  .handshake_ms = 12};

    inspection_take_probe(&i, &result);
    auto_json json_t *j = inspection_to_json(&i);
    assert_string_equal(json_str(json_get(j, "source"), "connect"), "127.0.0.1:443");
    assert_true(json_is_null(json_get(json_get(j, "source"), "file")));
    assert_string_equal(json_str(json_get(j, "leaf"), "sha256"), chain->items[0]->sha256_hex);
    assert_int_equal(json_array_size(json_get(j, "chain")), 1); /* without the leaf */
    assert_string_equal(json_str(json_get(j, "tls"), "version"), "TLSv1.3");
    assert_int_equal(json_int(json_get(j, "tls"), "handshake_ms"), 12);
    assert_string_equal(json_str(json_get(j, "staple"), "status"), "none");
    assert_true(json_is_null(json_get(j, "managed")));
    assert_int_equal(json_object_size(j), 11);
    inspection_done(&i);
}

/* Compares a file of this chain with what is managed. */
static void compare(struct inspection *i, const char *pem, const char *host, bool expect_ok)
{
    struct config_certificate other = {.name = (char[]){"other"}}, www = {.name = (char[]){"www"}};
    struct config_certificate *certificates[] = {&other, &www};
    struct config config = {.state_dir = dir, .certificates = certificates, .n_certificates = 2};
    auto_err struct err *e = NULL;

    strv_add(&other.names, "elsewhere.example.org");
    strv_add(&www.names, "www.example.org");
    read_one(i, pem, "");
    assert_int_equal(inspection_compare(i, &config, host, &e), expect_ok);
    strv_done(&other.names);
    strv_done(&www.names);
}

static void tells_the_generation_and_whether_it_is_live(void **state)
{
    (void)state;
    struct inspection i = {0};
    auto_chain struct chain *old = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_free char *old_pem = chain_to_pem(old, 0);

    live = chain;
    older = old;
    compare(&i, chain_pem, NULL, true);
    assert_string_equal(i.managed, "www");
    assert_int_equal(i.generation, 8);
    assert_true(i.is_live);
    assert_int_equal(inspection_exit(&i), 0);
    inspection_done(&i);

    compare(&i, old_pem, NULL, true);
    assert_int_equal(i.generation, 7);
    assert_false(i.is_live);
    assert_int_equal(inspection_exit(&i), 3);
    inspection_done(&i);
}

static void another_certificate_for_a_managed_name_is_not_live(void **state)
{
    (void)state;
    struct inspection i = {0};
    auto_chain struct chain *foreign = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_chain struct chain *stranger =
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.names = "DNS:a.example"}));
    auto_free char *foreign_pem = chain_to_pem(foreign, 0);
    auto_free char *stranger_pem = chain_to_pem(stranger, 0);

    live = older = chain;
    compare(&i, foreign_pem, NULL, true);
    assert_string_equal(i.managed, "www");
    assert_int_equal(i.generation, 0);
    auto_json json_t *j = inspection_to_json(&i);
    assert_true(json_is_null(json_get(json_get(j, "managed"), "generation")));
    assert_true(json_is_false(json_get(json_get(j, "managed"), "is_live")));
    assert_int_equal(inspection_exit(&i), 3);
    inspection_done(&i);

    compare(&i, stranger_pem, NULL, true);
    assert_null(i.managed);
    assert_int_equal(inspection_exit(&i), 0);
    inspection_done(&i);

    compare(&i, stranger_pem, "www.example.org", true); /* asked for ours, got a stranger's */
    assert_string_equal(i.managed, "www");
    assert_int_equal(inspection_exit(&i), 3);
    inspection_done(&i);
}

static void says_nothing_about_what_it_cannot_read(void **state)
{
    (void)state;
    struct inspection i = {0};
    auto_chain struct chain *foreign = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_free char *foreign_pem = chain_to_pem(foreign, 0);

    live_unreadable = true;
    older = chain;
    compare(&i, foreign_pem, NULL, false);
    live_unreadable = false;
    assert_null(i.managed);
    assert_int_equal(inspection_exit(&i), 0);
    inspection_done(&i);
}

static void the_text_shows_nothing_raw(void **state)
{
    (void)state;
    struct inspection i = {0};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    read_one(&i, chain_pem, key_pem);
    set_string(&i.file, xstrdup("a\033[2Jb"));
    inspection_judge(&i, NULL, NULL, clock_now());
    inspection_print(out, &i, clock_now());
    fclose(out);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "names         www.example.org\n"));
    assert_non_null(strstr(text, "private key   belongs to the certificate\n"));
    assert_non_null(strstr(text, "trust         unknown-ca: "));
    free(text);
    inspection_done(&i);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_a_pair_from_a_mismatched_one),
        cmocka_unit_test(a_key_that_cannot_be_compared_is_no_mismatch),
        cmocka_unit_test(reads_a_folder_as_those_in_live_are),
        cmocka_unit_test(refuses_what_holds_nothing_or_is_broken),
        cmocka_unit_test(an_unknown_ca_is_no_failure_but_expiry_is),
        cmocka_unit_test(takes_what_an_endpoint_showed),
        cmocka_unit_test(tells_the_generation_and_whether_it_is_live),
        cmocka_unit_test(another_certificate_for_a_managed_name_is_not_live),
        cmocka_unit_test(says_nothing_about_what_it_cannot_read),
        cmocka_unit_test(the_text_shows_nothing_raw),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
