#include "store/order_key.h"

#include <assert.h>

#include "store/certificate_name.h"
#include "store/stored_file.h"

static struct stored_file file_of(const char *certificate)
{
    assert(certificate_name_is_valid(certificate));
    return (struct stored_file){
        .folder = "certificates", .owner = certificate, .name = "order-key.pem"};
}

struct save *state_save_order_key(struct state *s, const char *certificate, const struct key *key,
                                  save_fn *fn, void *userdata)
{
    struct stored_file f = file_of(certificate);

    return stored_file_save(s, &f, key_to_pem(key), fn, userdata);
}

struct save *state_remove_order_key(struct state *s, const char *certificate, save_fn *fn,
                                    void *userdata)
{
    struct stored_file f = file_of(certificate);

    return stored_file_save(s, &f, NULL, fn, userdata);
}

struct key *state_load_order_key(struct state *s, const char *certificate, struct err **err)
{
    struct stored_file f = file_of(certificate);
    auto_buf struct buf pem = {0};
    auto_err struct err *damage = NULL;

    if (stored_file_load(s, &f, &pem, err) != STORED_FOUND)
        return NULL;
    struct key *key = key_from_pem(pem.data, pem.len, &damage);
    if (!key)
        stored_file_set_aside(s, &f, damage);
    return key;
}
