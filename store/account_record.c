#include "store/account_record.h"

#include <string.h>

#include "base/enc.h"
#include "pki/digest.h"
#include "store/document_private.h"

#define HOST_MAX 64 /* of the folder's name; what follows tells long ones apart */

/* "acme.example.org-0123456789abcdef": readable for people, unique by the hash. A URL is foreign
 * text: nothing of it but letters, digits, '.' and '-' gets into the path. */
static char *folder_of(const char *url)
{
    unsigned char digest[32];
    char host[HOST_MAX + 1];
    const char *at = strstr(url, "://");
    size_t n = 0;

    for (at = at ? at + 3 : url; *at && !strchr("/:?#", *at) && n < HOST_MAX; at++) {
        char c = *at;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (n > 0 && (c == '.' || c == '-'));
        host[n++] = plain ? c : '_';
    }
    host[n] = '\0';
    sha256(url, strlen(url), digest);
    auto_free char *hash = enc_hex(digest, 8);
    return xasprintf("%s-%s", n > 0 ? host : "issuer", hash);
}

static struct stored_file key_file(const char *folder)
{
    return (struct stored_file){.folder = "accounts", .owner = folder, .name = "key.pem"};
}

static struct stored_file next_key_file(const char *folder)
{
    return (struct stored_file){.folder = "accounts", .owner = folder, .name = "key-next.pem"};
}

static struct stored_file json_file(const char *folder)
{
    return (struct stored_file){.folder = "accounts", .owner = folder, .name = "account.json"};
}

static struct stored_file limits_file(const char *folder)
{
    return (struct stored_file){.folder = "accounts", .owner = folder, .name = "limits.json"};
}

static bool load_key(struct state *s, struct stored_file f, struct key **ret, struct err **err)
{
    auto_buf struct buf pem = {0};
    auto_err struct err *damage = NULL;
    enum stored_result r = stored_file_load(s, &f, &pem, err);

    if (r != STORED_FOUND)
        return r == STORED_ABSENT;
    *ret = key_from_pem(pem.data, pem.len, &damage);
    if (!*ret) {
        err_wrap(&damage, "the account key in accounts/%s", f.owner);
        stored_file_set_aside(s, &f, damage);
    }
    return true;
}

bool state_load_account(struct state *s, const char *directory_url, struct account_record *ret,
                        struct err **err)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = json_file(folder);
    struct account_record record = {0};
    auto_err struct err *e = NULL;

    if (!load_key(s, key_file(folder), &record.key, &e) ||
        !load_key(s, next_key_file(folder), &record.next_key, &e)) {
        account_record_done(&record);
        return err_move(err, &e);
    }
    record.json = document_load(s, &f, &e);
    if (e) {
        account_record_done(&record);
        return err_move(err, &e);
    }
    if (record.json && !record.key) {
        err_set(&e, ERR_SYSTEM, "accounts/%s/account.json has no key beside it", folder);
        stored_file_set_aside(s, &f, e);
        account_record_done(&record);
    }
    *ret = record;
    return true;
}

void account_record_done(struct account_record *a)
{
    key_unref(a->key);
    key_unref(a->next_key);
    json_decref(a->json);
    *a = (struct account_record){0};
}

struct save *state_save_account_key(struct state *s, const char *directory_url,
                                    const struct key *key, save_fn *fn, void *userdata)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = key_file(folder);

    return stored_file_save(s, &f, key_to_pem(key), fn, userdata);
}

struct save *state_save_account_next_key(struct state *s, const char *directory_url,
                                         const struct key *key, save_fn *fn, void *userdata)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = next_key_file(folder);

    return stored_file_save(s, &f, key ? key_to_pem(key) : NULL, fn, userdata);
}

struct save *state_save_account(struct state *s, const char *directory_url, const json_t *json,
                                save_fn *fn, void *userdata)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = json_file(folder);

    return document_save(s, &f, json, fn, userdata);
}

json_t *state_load_limits(struct state *s, const char *directory_url, struct err **err)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = limits_file(folder);

    return document_load(s, &f, err);
}

struct save *state_save_limits(struct state *s, const char *directory_url, const json_t *json,
                               save_fn *fn, void *userdata)
{
    auto_free char *folder = folder_of(directory_url);
    struct stored_file f = limits_file(folder);

    return document_save(s, &f, json, fn, userdata);
}
