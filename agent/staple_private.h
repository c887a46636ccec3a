/* Facts of a staple and how they are kept, for the staple*.c files only. */
#pragma once

#include "agent/ocsp_fetch.h"
#include "agent/staple.h"
#include "agent/staple_plan.h"

/* Who is asked about a certificate; `ret` is initialised or {0}. Empty: nobody. */
void staple_responders(const struct config_certificate *c, const struct strv *of_leaf,
                       struct strv *ret);
void staple_facts_done(struct staple_facts *f); /* leaves them empty */
/* Whether what is held need not be withdrawn yet. */
static inline bool staple_is_lasting(const struct staple_facts *f, time_t now)
{
    return staple_withdraw_at((struct staple_times){f->this_update, f->next_update}) > now;
}
/* What was heard: facts, and when to look again. True when `f` should replace what is held. */
bool staple_facts_hear(struct staple_facts *facts, const struct ocsp_fetched *f,
                       const struct err *e, time_t not_before, time_t now);
/* staple.json, which is about the leaf with that digest. */
void staple_facts_save(struct state *s, const char *certificate, const char *sha256,
                       const struct staple_facts *f);
/* False: there is none about that leaf. */
bool staple_facts_load(struct state *s, const char *certificate, const char *sha256,
                       struct staple_facts *ret);
/* From the certificate and ocsp.der themselves, checked again. */
void staple_facts_read(struct state *s, const struct config_certificate *c,
                       const struct generation *g, struct staple_facts *ret);
