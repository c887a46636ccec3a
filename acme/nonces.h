/* Nonces not used yet (RFC 8555 6.5): a small stack, newest on top. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NONCES_MAX     64
#define NONCE_LEN_MAX  512
#define NONCES_IDLE_MS (5 * 60 * 1000) /* servers forget them, too */

struct nonces {
    char *items[NONCES_MAX];
    size_t n;
    int64_t put_ms; /* when the newest came, clock_boot_ms() */
};

void nonces_done(struct nonces *p);
/* Keeps a copy; NULL and what is not base64url are ignored. A full stack loses its oldest. */
void nonces_put(struct nonces *p, const char *nonce, int64_t now_ms);
/* A nonce (caller frees), or NULL: none, or all were dropped because the newest is too old. */
char *nonces_take(struct nonces *p, int64_t now_ms);
void nonces_clear(struct nonces *p);
