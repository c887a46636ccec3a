#include "agent/issuers.h"

#include <string.h>

struct issuers {
    const struct services *services;
    issuers_fn *fn;
    void *userdata;
    struct issuer **items; /* those of old configurations, too, while they may be in use */
    size_t n;
    struct authority **authorities;
    size_t n_authorities;
};

struct issuers *issuers_new(const struct services *services, issuers_fn *fn, void *userdata)
{
    struct issuers *all = xcalloc(1, sizeof *all);

    all->services = services;
    all->fn = fn;
    all->userdata = userdata;
    return all;
}

void issuers_free(struct issuers *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++)
        issuer_free(all->items[i]);
    for (size_t i = 0; i < all->n_authorities; i++)
        authority_free(all->authorities[i]);
    free(all->items);
    free(all->authorities);
    free(all);
}

/* Of the first issuer with that directory that has some. */
static const struct limits_config *limits_of(const struct config *config, const char *directory)
{
    for (size_t i = 0; i < config->n_issuers; i++) {
        const struct config_issuer *issuer = config->issuers[i];
        const struct limits_config *l = &issuer->limits;
        if (strcmp(issuer->directory, directory) == 0 &&
            (l->orders.count > 0 || l->certificates.count > 0 || l->requests.count > 0))
            return l;
    }
    return NULL;
}

struct authority *issuers_authority(struct issuers *all, const struct config *config,
                                    const char *directory)
{
    for (size_t i = 0; i < all->n_authorities; i++) {
        if (strcmp(authority_directory(all->authorities[i]), directory) == 0)
            return all->authorities[i];
    }
    struct authority *a = authority_new(all->services, directory, limits_of(config, directory));
    authority_on_return(a, all->fn, all->userdata);
    all->authorities =
        xreallocarray(all->authorities, all->n_authorities + 1, sizeof(struct authority *));
    all->authorities[all->n_authorities++] = a;
    return a;
}

void issuers_configure(struct issuers *all, const struct config *config)
{
    for (size_t i = 0; i < all->n_authorities; i++) {
        struct authority *a = all->authorities[i];
        authority_configure(a, limits_of(config, authority_directory(a)));
    }
}

struct issuer *issuers_known(const struct issuers *all, const struct config_issuer *wanted)
{
    for (size_t i = 0; i < all->n; i++) {
        if (issuer_fits(all->items[i], wanted))
            return all->items[i];
    }
    return NULL;
}

struct issuer *issuers_get(struct issuers *all, const struct config *config,
                           const struct config_issuer *wanted, struct err **err)
{
    struct issuer *i = issuers_known(all, wanted);

    if (i)
        return i;
    struct authority *authority = issuers_authority(all, config, wanted->directory);
    i = issuer_new(all->services, wanted, authority, config->http_timeout_s, err);
    if (!i)
        return NULL;
    all->items = xreallocarray(all->items, all->n + 1, sizeof(struct issuer *));
    all->items[all->n++] = i;
    return i;
}

struct issuer *issuers_of_directory(struct issuers *all, const struct config *config,
                                    const char *directory)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(issuer_directory(all->items[i]), directory) == 0)
            return all->items[i];
    }
    for (size_t i = 0; i < config->n_issuers; i++) {
        if (strcmp(config->issuers[i]->directory, directory) == 0)
            return issuers_get(all, config, config->issuers[i], NULL);
    }
    return NULL;
}

static bool is_configured(const struct config *config, const struct issuer *i)
{
    for (size_t k = 0; k < config->n_issuers; k++) {
        if (issuer_fits(i, config->issuers[k]))
            return true;
    }
    return false;
}

void issuers_sweep(struct issuers *all, const struct config *config)
{
    size_t kept = 0;

    for (size_t i = 0; i < all->n; i++) {
        if (is_configured(config, all->items[i]) || issuer_is_busy(all->items[i]))
            all->items[kept++] = all->items[i];
        else
            issuer_free(all->items[i]);
    }
    all->n = kept;
}
