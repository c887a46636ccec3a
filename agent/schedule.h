/* schedule.json of one certificate: what must survive about its renewals. A plain value. */
#pragma once

#include <time.h>

#include "agent/revocation.h"
#include "base/err.h"
#include "base/json.h"

/* What the CA said about one certificate (acme/ari.h). */
struct schedule_ari {
    char *cert_id;     /* that all this belongs to; NULL: nothing is known */
    time_t start, end; /* its window; 0: none is known */
    time_t at;         /* the instant chosen in it, once */
    time_t next_poll;  /* when to ask again */
    char *url;         /* its explanation, or NULL */
};

struct schedule {
    double jitter;   /* 0..1, drawn once */
    int failures;    /* renewals failed in a row */
    time_t next_try; /* not before this instant; 0: no back-off */
    time_t renew_at; /* when the newest generation becomes due: for readers, worked out anew here */
    struct err *error;   /* of the last failure, or NULL */
    time_t last_success; /* a new certificate was accepted */
    char *attempt;       /* id of the last attempt */
    struct revocation revocation;
    struct strv revoked; /* serials of generations that the CA revoked on request */
    struct schedule_ari ari;
    int ari_renewals; /* in a row, see agent/renewal.h */
};

/* Fills *s from the document; NULL draws a fresh schedule. */
void schedule_read(struct schedule *s, const json_t *document);
json_t *schedule_to_json(const struct schedule *s);
/* From now on ARI is about this certificate: what belongs to another is forgotten. */
void schedule_bind_ari(struct schedule *s, const char *cert_id);
void schedule_done(struct schedule *s);
