/* Only what is on the page becomes JSON; the order is found from the views. */
#include "agent/page.h"

#include <stdlib.h>
#include <string.h>

#include "agent/html.h"
#include "agent/page_certificate.h"
#include "agent/page_style.h"
#include "agent/status.h"
#include "base/clock.h"

struct place {
    size_t index; /* in the configuration */
    int exit_status;
    time_t renew_at;
};

struct summary {
    struct place *places; /* those in trouble first, then who is renewed next */
    size_t n, trouble, broken;
    struct managed_view next; /* who is renewed next; name NULL: nobody */
};

/* Summary -------------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->exit_status != y->exit_status)
        return x->exit_status > y->exit_status ? -1 : 1;
    if (x->renew_at != y->renew_at)
        return x->renew_at < y->renew_at ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void summarise(const struct manager *m, struct summary *s)
{
    *s = (struct summary){.n = manager_count(m)};
    s->places = xcalloc(s->n + 1, sizeof *s->places);
    for (size_t i = 0; i < s->n; i++) {
        struct managed_view v;
        managed_view(manager_at(m, i), &v);
        s->places[i] = (struct place){i, v.exit_status, v.renew_at};
        s->trouble += v.exit_status == 1;
        s->broken += v.exit_status > 1;
        if (v.renew_at > 0 && (!s->next.name || v.renew_at < s->next.renew_at))
            s->next = v;
    }
    qsort(s->places, s->n, sizeof *s->places, compare_places);
}

static void summary_done(struct summary *s)
{
    free(s->places);
}

static void add_verdict(struct buf *out, const struct summary *s)
{
    size_t bad = s->trouble + s->broken;

    if (s->n == 0)
        buf_add_str(out, "No certificates are configured");
    else if (bad == 0 && s->n == 1)
        buf_add_str(out, "The certificate is well");
    else if (bad == 0)
        buf_addf(out, "All %zu certificates are well", s->n);
    else
        buf_addf(out, "%zu of %zu certificate%s need%s attention", bad, s->n, s->n == 1 ? "" : "s",
                 bad == 1 ? "s" : "");
}

/* Frame ---------------------------------------------------------------------------------------- */

/* The policy is for the day a mistake lets foreign markup through: it could neither run nor load
 * anything. */
static void begin_page(struct buf *out)
{
    buf_add_str(out,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
                "<meta name=\"referrer\" content=\"no-referrer\">\n"
                "<link rel=\"icon\" href=\"data:,\">\n<title>");
}

static void begin_body(struct buf *out)
{
    buf_add_str(out, "</title>\n<style>");
    for (size_t i = 0; page_style[i]; i++)
        buf_add_str(out, page_style[i]);
    buf_add_str(out, "</style>\n</head>\n<body>\n"
                     "<a class=\"skip\" href=\"#main\">To the certificates</a>\n");
}

static void end_page(struct buf *out, time_t now)
{
    buf_add_str(out, "</main>\n<footer><p>As of ");
    html_time(out, now);
    buf_add_str(out, ". All times are UTC. Everleaf " EVERLEAF_VERSION
                     ". The same for programs: <a href=\"/status\">/status</a>, "
                     "<a href=\"/metrics\">/metrics</a>.</p></footer>\n</body>\n</html>\n");
}

static void add_refused(struct buf *out, const struct err *e)
{
    if (!e)
        return;
    buf_add_str(out, "<section class=\"error\" aria-label=\"Configuration\"><p><b>Configuration:"
                     "</b> ");
    html_text(out, e->text);
    if (e->where) {
        buf_add_str(out, " <small>");
        html_text(out, e->where);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, "</p>");
    if (e->hint) {
        buf_add_str(out, "<p><b>What to do:</b> ");
        html_text(out, e->hint);
        buf_add_str(out, "</p>");
    }
    buf_add_str(out, "</section>\n");
}

static void add_tile(struct buf *out, const char *class, size_t n, const char *word)
{
    buf_addf(out, "<li class=\"%s\"><b>%zu</b> %s</li>", n > 0 ? class : "zero", n, word);
}

static void add_header(struct buf *out, const struct manager *m, const struct summary *s,
                       time_t now)
{
    buf_addf(out, "<header class=\"%s\"><p class=\"brand\">Everleaf</p><h1>",
             s->broken > 0    ? "bad"
             : s->trouble > 0 ? "warn"
                              : "ok");
    add_verdict(out, s);
    buf_add_str(out, "</h1><ul class=\"tiles\">");
    add_tile(out, "ok", s->n - s->trouble - s->broken, "well");
    add_tile(out, "warn", s->trouble, "in trouble, still valid");
    add_tile(out, "bad", s->broken, "missing, expired or not served");
    buf_add_str(out, "</ul><p class=\"about\">");
    if (s->next.name) {
        buf_add_str(out, "Next renewal: ");
        html_text(out, s->next.name);
        buf_add_str(out, s->next.renew_at > now ? " " : ", due ");
        html_distance(out, s->next.renew_at, now);
        buf_add_str(out, ". ");
    }
    buf_add_str(out, "Running since ");
    html_time(out, manager_since(m));
    buf_add_str(out, ".</p></header>\n");
}

/* Certification authorities -------------------------------------------------------------------- */

static void add_limits(struct buf *out, const json_t *limits, time_t now)
{
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *limit = json_array_get(limits, i);
        time_t free_at = json_time(limit, "free_at");
        buf_add_str(out, "<li>");
        html_text(out, json_str(limit, "name"));
        buf_addf(out, ": %lld of %lld used", (long long)json_int(limit, "used"),
                 (long long)json_int(limit, "max"));
        if (free_at > now) {
            buf_add_str(out, ", the next is free ");
            html_distance(out, free_at, now);
        }
        buf_add_str(out, "</li>");
    }
}

static void add_issuers(struct buf *out, const json_t *issuers, time_t now)
{
    if (json_array_size(issuers) == 0)
        return;
    buf_add_str(out,
                "<section class=\"issuers\" aria-labelledby=\"cas\"><h2 id=\"cas\">Certification"
                " authorities</h2><ul>");
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *issuer = json_array_get(issuers, i);
        const json_t *limits = json_get(issuer, "limits");
        buf_add_str(out, "<li><b>");
        html_text(out, json_str(issuer, "name"));
        buf_add_str(out, "</b> <small>");
        html_text(out, json_str(issuer, "directory"));
        buf_add_str(out, "</small>");
        if (json_bool(issuer, "paused"))
            buf_add_str(out, " <span class=\"sign bad\">paused by the CA</span>");
        if (!json_str(issuer, "account"))
            buf_add_str(out, " <small>no account yet</small>");
        if (json_array_size(limits) > 0) {
            buf_add_str(out, "<ul>");
            add_limits(out, limits, now);
            buf_add_str(out, "</ul>");
        }
        buf_add_str(out, "</li>");
    }
    buf_add_str(out, "</ul></section>\n");
}

/* Pages ---------------------------------------------------------------------------------------- */

static void add_page_link(struct buf *out, size_t page, const char *word, bool there)
{
    if (!there)
        buf_addf(out, "<li><span aria-disabled=\"true\">%s</span></li>", word);
    else if (page == 1)
        buf_addf(out, "<li><a href=\"/\">%s</a></li>", word);
    else
        buf_addf(out, "<li><a href=\"/page/%zu\">%s</a></li>", page, word);
}

static void add_pages(struct buf *out, size_t page, size_t last)
{
    if (last <= 1)
        return;
    buf_add_str(out, "<nav aria-label=\"Pages\"><ul>");
    add_page_link(out, 1, "First", page > 1);
    add_page_link(out, page - 1, "Previous", page > 1);
    buf_addf(out, "<li><span aria-current=\"page\">Page %zu of %zu</span></li>", page, last);
    add_page_link(out, page + 1, "Next", page < last);
    add_page_link(out, last, "Last", page < last);
    buf_add_str(out, "</ul></nav>\n");
}

bool page_write(const struct manager *m, size_t number, struct buf *out)
{
    struct summary s;
    time_t now = clock_now();

    summarise(m, &s);
    size_t last = s.n > 0 ? (s.n + PAGE_CERTIFICATES - 1) / PAGE_CERTIFICATES : 1;
    if (number < 1 || number > last) {
        summary_done(&s);
        return false;
    }
    size_t from = (number - 1) * PAGE_CERTIFICATES;
    size_t to = from + PAGE_CERTIFICATES < s.n ? from + PAGE_CERTIFICATES : s.n;

    begin_page(out);
    add_verdict(out, &s);
    buf_add_str(out, " \u2013 Everleaf");
    begin_body(out);
    add_header(out, m, &s, now);
    buf_add_str(out, "<main id=\"main\">\n");
    add_refused(out, manager_reload_error(m));
    for (size_t i = from; i < to; i++) {
        struct managed_view v;
        managed_view(manager_at(m, s.places[i].index), &v);
        auto_json json_t *certificate = status_certificate(&v);
        page_certificate(out, certificate, now, false);
    }
    add_pages(out, number, last);
    auto_json json_t *issuers = status_issuers(m);
    add_issuers(out, issuers, now);
    end_page(out, now);
    summary_done(&s);
    return true;
}

bool page_write_certificate(const struct manager *m, const char *name, struct buf *out)
{
    const struct managed *found = manager_find(m, name);
    struct managed_view v;
    time_t now = clock_now();

    if (!found)
        return false;
    managed_view(found, &v);
    auto_json json_t *certificate = status_certificate(&v);
    if (manager_services(m)->state)
        json_put(certificate, "history", state_history(manager_services(m)->state, v.name));
    begin_page(out);
    html_text(out, v.name);
    buf_add_str(out, " \u2013 Everleaf");
    begin_body(out);
    buf_add_str(out, "<header><p class=\"brand\"><a href=\"/\">Everleaf</a></p><h1>Certificate ");
    html_text(out, v.name);
    buf_add_str(out, "</h1></header>\n<main id=\"main\">\n<p class=\"back\"><a href=\"/\">All "
                     "certificates</a></p>\n");
    page_certificate(out, certificate, now, true);
    end_page(out, now);
    return true;
}
