#include "agent/limits_metrics.h"

#include <inttypes.h>

static void put(struct buf *out, const char *name, const char *issuer, const char *limit,
                int64_t value)
{
    buf_addf(out, "%s{issuer=\"", name);
    metrics_label_value(out, issuer);
    if (limit)
        buf_addf(out, "\",limit=\"%s", limit);
    buf_addf(out, "\"} %" PRId64 "\n", value);
}

void limits_metrics_write(const struct manager *m, enum metrics_format format, time_t now,
                          struct buf *out)
{
    static const char remaining[] = "everleaf_rate_limit_remaining";
    static const char paused[] = "everleaf_issuer_paused";
    const struct config *config = manager_config(m);

    metrics_write_head(out, format, remaining, METRIC_GAUGE,
                       "What the CA still allows by our own count, where the least is left.");
    for (size_t i = 0; i < config->n_issuers; i++) {
        struct limits *limits = manager_limits(m, config->issuers[i]->directory);
        for (int l = 0; limits && l < LIMITS_N; l++) {
            int64_t left = limits_remaining(limits, (enum limit)l, now);
            if (left >= 0)
                put(out, remaining, config->issuers[i]->name, limit_names[l], left);
        }
    }
    metrics_write_head(out, format, paused, METRIC_GAUGE,
                       "Whether the CA has paused names until somebody goes to its page.");
    for (size_t i = 0; i < config->n_issuers; i++) {
        const struct limits *limits = manager_limits(m, config->issuers[i]->directory);
        put(out, paused, config->issuers[i]->name, NULL, limits && limits_is_paused(limits));
    }
}
