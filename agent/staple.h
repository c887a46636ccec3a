/* The staple of one certificate: got before a generation goes live, refreshed while it is, taken
 * away in time when no fresh one can be had. What is held is ocsp.der in the generation's folder;
 * what is known of it, and when it is looked for next, is in staple.json and belongs to one leaf:
 * another certificate's staple is never used. */
#pragma once

#include "agent/config.h"
#include "agent/services.h"
#include "pki/ocsp.h"
#include "store/generation.h"

struct staple_facts {
    struct strv ocsp_urls, crl_urls; /* of the leaf */
    bool wanted; /* there is a responder, and the configuration lets us ask it */
    bool held;
    enum ocsp_status status;         /* the last that was heard; without any: TRY_LATER */
    time_t this_update, next_update; /* of what is held, or was last */
    char *id;                        /* its CertID as ocsp_id() writes it, or NULL */
    time_t revoked_at;               /* REVOKED */
    char *reason;                    /* REVOKED; or NULL */
    time_t fresh_until, next_fetch;
    int failures;      /* in a row */
    struct err *error; /* of the last one, or NULL */
};

struct staple_events {
    /* What is on disk was looked at; only with `start`. */
    void (*known)(void *userdata);
    /* Another staple, or none any more, is beside the generation: servers must follow. */
    void (*changed)(void *userdata);
    /* The issuer says that the certificate is revoked. Once per certificate and start. */
    void (*revoked)(void *userdata);
    void *userdata;
};

struct staple;
struct staple *staple_new(const struct services *services, const char *certificate,
                          const struct staple_events *events);
void staple_free(struct staple *s); /* NULL is fine; what is on disk stays good */
/* The generation that is live now; with `start` its staple is looked after from now on. False, and
 * nothing happens, when it is the one looked after already. number 0: nothing is live. */
bool staple_follow(struct staple *s, const struct config_certificate *c,
                   const struct generation_facts *live, bool start);
const struct staple_facts *staple_facts(struct staple *s); /* may read them from disk */
bool staple_says_revoked(const struct staple *s);          /* as far as it is in memory */
/* product.md section 10; never NULL. */
const char *staple_state(const struct staple_facts *f, time_t now);
json_t *staple_json(const struct staple_facts *f, time_t now);

/* A generation that is not live yet gets its staple. Ends at once when there is no responder to
 * ask. e: there is none, although there should be one; borrowed. revoked: by its issuer, already.
 * The handle is gone at the callback. */
struct staple_first;
typedef void staple_first_fn(bool revoked, const struct err *e, void *userdata);
struct staple_first *staple_first_start(const struct services *services,
                                        const struct config_certificate *c, struct generation *g,
                                        staple_first_fn *fn, void *userdata);
void staple_first_free(struct staple_first *f); /* NULL is fine */
