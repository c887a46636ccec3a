#include "acme/challenge.h"

#include <string.h>

const struct challenge_type *challenge_type_find(const char *acme_name)
{
    for (size_t i = 0; challenge_type_all[i]; i++) {
        if (strcmp(challenge_type_all[i]->acme, acme_name) == 0)
            return challenge_type_all[i];
    }
    return NULL;
}

bool solver_open(struct solver *s, struct loop *l, struct worker *w, struct err **err)
{
    s->loop = l;
    s->worker = w;
    if (!s->type->open(s, err))
        return err_wrap(err, "challenge \"%s\"", s->name);
    return true;
}

void solver_free(struct solver *s)
{
    if (!s)
        return;
    if (s->state)
        s->type->close(s);
    if (s->settings) {
        schema_done(s->type->fields, s->settings);
        free(s->settings);
    }
    free(s->name);
    free(s->where);
    free(s);
}
