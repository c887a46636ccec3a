#include "pki/test_ca.h"

#include <string.h>

#include "pki/csr.h"
#include "pki/openssl.h"

static struct loop *loop;
static struct worker *worker;

static int start(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 1, NULL);
    return loop && worker ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    worker_free(worker);
    loop_free(loop);
    return 0;
}

static void on_csr(const unsigned char *der, size_t len, const struct err *e, void *userdata)
{
    X509_REQ **req = userdata;
    const unsigned char *at = der;

    assert_null(e);
    *req = d2i_X509_REQ(NULL, &at, (long)len);
    assert_true(at == der + len);
    loop_exit(loop, 0);
}

static X509_REQ *make(struct key *key, const struct strv *names, bool must_staple)
{
    X509_REQ *req = NULL;

    csr_make(worker, key, names, must_staple, on_csr, &req);
    loop_run(loop);
    assert_non_null(req);
    return req;
}

static X509_EXTENSION *extension_of(X509_REQ *req, int nid)
{
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
    int at = X509v3_get_ext_by_NID(all, nid, -1);
    X509_EXTENSION *e = at < 0 ? NULL : X509_EXTENSION_dup(X509v3_get_ext(all, at));

    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    return e;
}

static void has_all_names_in_the_san_and_no_subject(void **state)
{
    (void)state;
    auto_key struct key *key = test_key();
    auto_strv struct strv names = {0};
    strv_add(&names, "www.example.org");
    strv_add(&names, "*.example.org");
    strv_add(&names, "192.0.2.7");
    strv_add(&names, "2001:db8::1");
    auto_req X509_REQ *req = make(key, &names, false);
    X509_EXTENSION *e = extension_of(req, NID_subject_alt_name);
    auto_names GENERAL_NAMES *san = X509V3_EXT_d2i(e);

    assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0);
    assert_int_equal(sk_GENERAL_NAME_num(san), 4);
    int type;
    const ASN1_STRING *first = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(san, 0), &type);
    assert_int_equal(type, GEN_DNS);
    assert_memory_equal(ASN1_STRING_get0_data(first), "www.example.org", 15);
    const ASN1_STRING *ip = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(san, 2), &type);
    assert_int_equal(type, GEN_IPADD);
    assert_memory_equal(ASN1_STRING_get0_data(ip), "\xc0\x00\x02\x07", 4);
    assert_int_equal(X509_REQ_verify(req, key->pkey), 1);
    assert_null(extension_of(req, NID_tlsfeature));
    X509_EXTENSION_free(e);
}

static void asks_for_must_staple_only_when_told(void **state)
{
    (void)state;
    auto_key struct key *key = test_key();
    auto_strv struct strv names = {0};
    strv_add(&names, "www.example.org");
    auto_req X509_REQ *req = make(key, &names, true);
    X509_EXTENSION *e = extension_of(req, NID_tlsfeature);

    assert_non_null(e);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(e);
    assert_int_equal(ASN1_STRING_length(value), 5);
    assert_memory_equal(ASN1_STRING_get0_data(value), "\x30\x03\x02\x01\x05", 5);
    X509_EXTENSION_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_all_names_in_the_san_and_no_subject),
        cmocka_unit_test(asks_for_must_staple_only_when_told),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
