/* Renewal information (RFC 9773): when the CA would like a certificate to be renewed. Advisory: no
 * error here is worth more than a later question.
 *
 * One question per call; the owner keeps the answer with the certID it belongs to, chooses one
 * instant per window (ari_choose), and asks again at next_poll. */
#pragma once

#include "acme/session.h"

#define ARI_POLL_MIN_S    60
#define ARI_POLL_MAX_S    (24 * 3600)
#define ARI_POLL_PRESET_S (6 * 3600) /* RFC 9773 4.3.3 */
/* No certificate of ours lives longer than 398 days: a window that ends later than this from now
 * would mean "never", and is taken for no answer. */
#define ARI_AHEAD_MAX_S ((int64_t)400 * 24 * 3600)

struct ari_answer {
    time_t start, end; /* start < end; both 0 on failure; the past is left as it is, but above 0 */
    char *url;         /* explanationURL for the operator: http(s), escaped; or NULL */
    time_t next_poll;  /* always set: Retry-After in 1 min..1 day, or 6 h */
};
void ari_answer_done(struct ari_answer *a);

/* The answer is there with an error, too, for its next_poll. Both are borrowed. e: ERR_REFUSED when
 * the CA has no renewal information, does not know the certificate, or says what is no window;
 * ERR_TRANSIENT after a few tries; ERR_LIMITED. The handle ends with the callback; freeing it there
 * is harmless, later not. Ends before the session does. */
struct ari;
typedef void ari_fn(const struct ari_answer *a, const struct err *e, void *userdata);
/* cert_id: of struct cert, "AKI.serial". */
struct ari *ari_start(struct session *s, const char *cert_id, ari_fn *fn, void *userdata);
void ari_free(struct ari *a); /* cancels; NULL is fine */

/* A reply's body -> everything but next_poll. Pure; fuzzed. */
NODISCARD bool ari_parse(const char *body, size_t len, time_t now, struct ari_answer *ret,
                         struct err **err);
/* One instant of [start, end), uniformly, from 32 random bits. */
time_t ari_choose(time_t start, time_t end, uint32_t random);
/* The whole window is past: renew now (RFC 9773 4.2; how CAs announce revocations). */
bool ari_is_past(time_t end, time_t now);
