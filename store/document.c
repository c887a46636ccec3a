#include "store/document.h"

#include <assert.h>
#include <string.h>

#include "store/certificate_name.h"
#include "store/document_private.h"

/* An object with a version, or an error of kind ERR_REFUSED: damaged. */
static json_t *parse(const struct buf *text, int64_t *ret_version, struct err **err)
{
    auto_json json_t *j = json_parse(text->data, text->len, err);

    if (!j)
        return NULL;
    if (!json_is_object(j)) {
        err_set(err, ERR_REFUSED, "not a JSON object");
        return NULL;
    }
    if (!json_need_int(j, "version", ret_version, err))
        return NULL;
    if (*ret_version < 1) {
        err_set(err, ERR_REFUSED, "version: %lld is none", (long long)*ret_version);
        return NULL;
    }
    return take(j);
}

json_t *document_load(struct state *s, const struct stored_file *f, struct err **err)
{
    auto_buf struct buf text = {0};
    auto_err struct err *damage = NULL;
    int64_t version = 0;

    if (stored_file_load(s, f, &text, err) != STORED_FOUND)
        return NULL;
    auto_json json_t *j = parse(&text, &version, &damage);
    if (!j) {
        err_wrap(&damage, "%s/%s/%s", f->folder, f->owner, f->name);
        stored_file_set_aside(s, f, damage);
        return NULL;
    }
    if (version > DOCUMENT_VERSION) {
        err_set(err, ERR_SYSTEM, "%s/%s/%s/%s was written by a newer release (version %lld)",
                s->path, f->folder, f->owner, f->name, (long long)version);
        err_hint(err, "this is a downgrade: go back to the newer release, or move that file away");
        return NULL;
    }
    return take(j);
}

struct save *document_save(struct state *s, const struct stored_file *f, const json_t *json,
                           save_fn *fn, void *userdata)
{
    if (!json)
        return stored_file_save(s, f, NULL, fn, userdata);

    auto_json json_t *whole = json_object();
    json_put_int(whole, "version", DOCUMENT_VERSION);
    json_object_update_missing(whole, (json_t *)(uintptr_t)json); /* reads it only */
    auto_free char *text = json_text(whole);
    return stored_file_save(s, f, secret_new(text, strlen(text)), fn, userdata);
}

/* Of a certificate; `name` is kept in ret_name. */
static struct stored_file document_of(const char *certificate, const char *document,
                                      char **ret_name)
{
    assert(certificate_name_is_valid(certificate) && certificate_name_is_valid(document));
    *ret_name = xasprintf("%s.json", document);
    return (struct stored_file){.folder = "certificates", .owner = certificate, .name = *ret_name};
}

json_t *state_load(struct state *s, const char *certificate, const char *document, struct err **err)
{
    auto_free char *name = NULL;
    struct stored_file f = document_of(certificate, document, &name);

    return document_load(s, &f, err);
}

struct save *state_save(struct state *s, const char *certificate, const char *document,
                        const json_t *json, save_fn *fn, void *userdata)
{
    auto_free char *name = NULL;
    struct stored_file f = document_of(certificate, document, &name);

    return document_save(s, &f, json, fn, userdata);
}
