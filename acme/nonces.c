#include "acme/nonces.h"

#include <string.h>

#include "base/enc.h"
#include "base/mem.h"

void nonces_clear(struct nonces *p)
{
    while (p->n > 0)
        free(p->items[--p->n]);
}

void nonces_done(struct nonces *p)
{
    nonces_clear(p);
}

void nonces_put(struct nonces *p, const char *nonce, int64_t now_ms)
{
    if (!nonce || !enc_is_base64url(nonce, NONCE_LEN_MAX))
        return;
    if (p->n == NONCES_MAX) {
        free(p->items[0]);
        memmove(p->items, p->items + 1, (NONCES_MAX - 1) * sizeof(p->items[0]));
        p->n--;
    }
    p->items[p->n++] = xstrdup(nonce);
    p->put_ms = now_ms;
}

char *nonces_take(struct nonces *p, int64_t now_ms)
{
    /* The newest is on top: when it is too old, all are. */
    if (now_ms - p->put_ms > NONCES_IDLE_MS)
        nonces_clear(p);
    return p->n > 0 ? p->items[--p->n] : NULL;
}
