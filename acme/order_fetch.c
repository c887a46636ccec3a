/* Steps "fetch" and "alternates": the chain, checked before anybody else sees it. */
#include "acme/order_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define ALTERNATES_MAX 8

static const char pem_chain[] = "application/pem-certificate-chain";

static bool is_pem_chain(const struct reply *r)
{
    return strcmp(r->content_type, pem_chain) == 0;
}

static struct chain *read_chain(struct order *o, const struct reply *r, struct err **err)
{
    if (!is_pem_chain(r)) {
        err_set(err, ERR_REFUSED, "the CA sent %s instead of %s",
                *r->content_type ? r->content_type : "no content type", pem_chain);
        return NULL;
    }
    struct chain *chain = chain_from_pem(r->body, r->body_len, err);
    if (chain && !chain_accept(chain, o->settings.key, &o->settings.names, clock_now(), err)) {
        chain_free(chain);
        chain = NULL;
    }
    if (!chain)
        err_wrap(err, "the CA's certificate is not accepted");
    return chain;
}

void order_ask_fetch(struct order *o)
{
    order_post(o, "certificate", o->certificate, "", pem_chain);
}

enum order_state order_judge_fetch(struct order *o, const struct reply *r, const struct err *e,
                                   struct err **err)
{
    const char *preferred = o->settings.preferred_chain;

    if (e)
        return order_step_fail(e, err);
    o->chain = read_chain(o, r, err);
    o->rejected = !o->chain && is_pem_chain(r);
    if (!o->chain)
        return ORDER_FAILED;
    /* Alternates are extra requests of the same size: only for who cares (RFC 8555 7.4.2). */
    if (!preferred || chain_is_preferred(o->chain, preferred))
        return ORDER_DONE;
    strv_copy(&o->alternates, &r->alternates);
    return ORDER_ALTERNATES;
}

static void on_no_alternate(void *userdata)
{
    struct order *o = userdata;

    timer_free(take(o->pause));
    order_advance(o, NULL, NULL);
}

void order_ask_alternate(struct order *o)
{
    if (o->next_alternate < o->alternates.n && o->next_alternate < ALTERNATES_MAX)
        order_post(o, "certificate", o->alternates.items[o->next_alternate++], "", pem_chain);
    else
        o->pause = timer_after(session_loop(o->settings.session), 0, on_no_alternate, o);
}

/* An alternate is a wish: whatever is wrong with one, the first chain is good. */
enum order_state order_judge_alternate(struct order *o, const struct reply *r, const struct err *e,
                                       struct err **err)
{
    auto_err struct err *problem = err_copy(e);
    struct chain *chain = r ? read_chain(o, r, &problem) : NULL;

    (void)err;
    if (chain && chain_is_preferred(chain, o->settings.preferred_chain)) {
        chain_free(o->chain);
        o->chain = chain;
        return ORDER_DONE;
    }
    chain_free(chain);
    if (problem)
        log_failure(LOG_LEVEL_WARNING, problem, "alternate chain skipped", "certificate",
                    o->settings.label);
    if (r || e)
        return ORDER_ALTERNATES;
    log_warning("the CA does not offer the preferred chain: taking its first", "certificate",
                o->settings.label, "preferred", o->settings.preferred_chain);
    return ORDER_DONE;
}
