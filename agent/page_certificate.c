/* Colours repeat what words say, never more. Foreign text only by html_text(). */
#include "agent/page_certificate.h"

#include <string.h>

#include "agent/html.h"
#include "agent/page_time_line.h"
#include "base/clock.h"

#define NAMES_SHOWN 3

/* Words ---------------------------------------------------------------------------------------- */

struct word {
    const char *key, *text;
};

static const char *word_of(const struct word *words, const char *key)
{
    for (; words->key; words++) {
        if (key && strcmp(words->key, key) == 0)
            return words->text;
    }
    return key ? key : "unknown";
}

static const struct word states[] = {
    {"missing", "missing"},
    {"idle", "served"},
    {"due", "renewal is due"},
    {"ordering", "being renewed"},
    {"issued", "issued, not deployed yet"},
    {"staged", "being deployed"},
    {"deployed", "deployed, not proven"},
    {"proven", "proven"},
    {"backoff", "waiting for the next try"},
    {"rolled-back", "old one put back"},
    {"held", "held at an earlier one"},
    {NULL, NULL},
};

static const struct word server_states[] = {
    {"pending", "not loaded yet"},
    {"checked", "checked, not loaded yet"},
    {"reloaded", "loaded"},
    {"proven", "proven"},
    {"unproven", "not proven"},
    {"rolled-back", "old one put back"},
    {NULL, NULL},
};

/* Index by "exit": 0, 1, 3. */
struct tone {
    const char *class, *sign, *word;
};

static const struct tone *tone_of(const json_t *certificate)
{
    static const struct tone well = {"ok", "\u2713", "well"}, trouble = {"warn", "!", "trouble"},
                             broken = {"bad", "\u2715", "broken"};
    int64_t status = json_int(certificate, "exit");

    return status == 0 ? &well : status == 1 ? &trouble : &broken;
}

static void add_sign(struct buf *out, bool good)
{
    buf_addf(out, "<span class=\"sign %s\" aria-hidden=\"true\">%s</span>", good ? "ok" : "bad",
             good ? "\u2713" : "\u2715");
}

/* Servers and proof ---------------------------------------------------------------------------- */

static void add_endpoint(struct buf *out, const json_t *endpoint, bool why, time_t now)
{
    bool good = json_bool(endpoint, "serves_live");
    time_t checked = json_time(endpoint, "checked_at");
    const char *error = json_str(json_get(endpoint, "error"), "text");
    const char *sni = json_str(endpoint, "sni");

    buf_add_str(out, "<li>");
    add_sign(out, good);
    html_text(out, json_str(endpoint, "connect"));
    if (sni && *sni) {
        buf_add_str(out, " <small>as ");
        html_text(out, sni);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, good                           ? ": serves it"
                     : json_str(endpoint, "sha256") ? ": serves another certificate"
                                                    : ": does not answer");
    if (checked > 0) {
        buf_add_str(out, " <small>");
        html_distance(out, checked, now);
        buf_add_str(out, "</small>");
    }
    if (why && error && !good) {
        buf_add_str(out, "<br><span class=\"why\">");
        html_text(out, error);
        buf_add_str(out, "</span>");
    }
    buf_add_str(out, "</li>");
}

static void add_server(struct buf *out, const json_t *server, bool why, time_t now)
{
    const json_t *endpoints = json_get(server, "endpoints");
    const char *state = json_str(server, "state");
    const char *error = json_str(json_get(server, "error"), "text");

    buf_add_str(out, "<li><b>");
    html_text(out, json_str(server, "name"));
    buf_add_str(out, "</b> ");
    html_text(out, word_of(server_states, state));
    if (state && strcmp(state, "reloaded") == 0 && json_array_size(endpoints) == 0)
        buf_add_str(out, ", no endpoint to prove it at");
    if (why && error) {
        buf_add_str(out, "<br><span class=\"why\">");
        html_text(out, error);
        buf_add_str(out, "</span>");
    }
    if (json_array_size(endpoints) > 0) {
        buf_add_str(out, "<ul>");
        for (size_t i = 0; i < json_array_size(endpoints); i++)
            add_endpoint(out, json_array_get(endpoints, i), why, now);
        buf_add_str(out, "</ul>");
    }
    buf_add_str(out, "</li>");
}

/* What is wrong with the certificate has a place of its own, and mostly says the same. */
static void add_servers(struct buf *out, const json_t *certificate, time_t now, bool whole)
{
    const json_t *servers = json_get(certificate, "servers");
    bool why = whole || !json_str(json_get(certificate, "error"), "text");

    if (json_array_size(servers) == 0) {
        buf_add_str(out,
                    "<p class=\"servers none\">No servers: nobody proves that it is used.</p>");
        return;
    }
    buf_add_str(out, "<ul class=\"servers\">");
    for (size_t i = 0; i < json_array_size(servers); i++)
        add_server(out, json_array_get(servers, i), why, now);
    buf_add_str(out, "</ul>");
}

/* What is wrong -------------------------------------------------------------------------------- */

static void add_error(struct buf *out, const json_t *certificate, time_t now)
{
    const json_t *error = json_get(certificate, "error");
    const char *text = json_str(error, "text");
    const char *step = json_str(error, "step");
    const char *hint = json_str(error, "hint");
    const char *where = json_str(error, "where");
    time_t next = json_time(certificate, "next_try");
    int64_t failures = json_int(certificate, "failures");

    if (!text)
        return;
    buf_add_str(out, "<div class=\"error\"><p>");
    if (step) {
        buf_add_str(out, "<b>");
        html_text(out, step);
        buf_add_str(out, ":</b> ");
    }
    html_text(out, text);
    if (where) {
        buf_add_str(out, " <small>");
        html_text(out, where);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, "</p>");
    if (hint) {
        buf_add_str(out, "<p><b>What to do:</b> ");
        html_text(out, hint);
        buf_add_str(out, "</p>");
    }
    buf_add_str(out, "<p class=\"when\">");
    if (failures > 0)
        buf_addf(out, "%lld failure%s in a row. ", (long long)failures, failures == 1 ? "" : "s");
    if (next > 0) {
        buf_add_str(out, "Next try ");
        html_time(out, next);
        buf_add_str(out, " <small>");
        html_distance(out, next, now);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, "</p></div>");
}

/* Details -------------------------------------------------------------------------------------- */

static void add_row(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_addf(out, "<dt>%s</dt><dd>", name);
    html_text(out, value);
    buf_add_str(out, "</dd>");
}

static void add_outputs(struct buf *out, const json_t *outputs)
{
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *output = json_array_get(outputs, i);
        const char *error = json_str(json_get(output, "error"), "text");
        int64_t generation = json_int(output, "generation");
        buf_add_str(out, "<dt>Output</dt><dd>");
        html_text(out, json_str(output, "type"));
        buf_add_str(out, " ");
        html_text(out, json_str(output, "path"));
        if (generation > 0)
            buf_addf(out, " <small>generation %lld</small>", (long long)generation);
        if (error) {
            buf_add_str(out, "<br><span class=\"why\">");
            html_text(out, error);
            buf_add_str(out, "</span>");
        }
        buf_add_str(out, "</dd>");
    }
}

static void add_facts(struct buf *out, const json_t *certificate)
{
    const json_t *live = json_get(certificate, "live");
    const json_t *names = json_get(certificate, "names");
    int64_t generation = json_int(certificate, "generation");

    buf_add_str(out, "<dl><dt>Names</dt><dd>");
    for (size_t i = 0; i < json_array_size(names); i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        html_text(out, json_string_value(json_array_get(names, i)));
    }
    buf_add_str(out, "</dd>");
    add_row(out, "Ordered from", json_str(certificate, "issuer"));
    add_row(out, "Signed by", json_str(live, "issuer_cn"));
    add_row(out, "Key", json_str(live, "key_type"));
    add_row(out, "Serial number", json_str(live, "serial"));
    add_row(out, "SHA-256", json_str(live, "sha256"));
    if (generation > 0)
        buf_addf(out, "<dt>Generation</dt><dd>%lld, the newest is %lld</dd>", (long long)generation,
                 (long long)json_int(certificate, "newest_generation"));
    add_outputs(out, json_get(certificate, "outputs"));
    buf_add_str(out, "</dl>");
}

static void add_history(struct buf *out, const json_t *history)
{
    size_t n = json_array_size(history);

    if (n == 0)
        return;
    buf_add_str(out, "<h3>History</h3><ol class=\"history\">");
    for (size_t i = n; i-- > 0;) { /* the newest first */
        const json_t *line = json_array_get(history, i);
        buf_add_str(out, "<li>");
        html_time(out, json_time(line, "at"));
        buf_add_str(out, " <b>");
        html_text(out, json_str(line, "event"));
        buf_add_str(out, "</b> ");
        html_text(out, json_str(line, "text"));
        if (json_str(line, "attempt")) {
            buf_add_str(out, " <small>attempt ");
            html_text(out, json_str(line, "attempt"));
            buf_add_str(out, "</small>");
        }
        buf_add_str(out, "</li>");
    }
    buf_add_str(out, "</ol>");
}

/* The whole ------------------------------------------------------------------------------------ */

static void add_title(struct buf *out, const json_t *certificate, bool whole)
{
    const struct tone *tone = tone_of(certificate);
    const json_t *names = json_get(certificate, "names");
    const char *name = json_str(certificate, "name");
    const char *activity = json_str(certificate, "activity");
    size_t n = json_array_size(names);

    buf_addf(out, "<div class=\"who\"><h2><span class=\"sign %s\" aria-hidden=\"true\">%s</span>",
             tone->class, tone->sign);
    if (whole) {
        html_text(out, name);
    } else {
        buf_add_str(out, "<a href=\"/certificate/");
        html_text(out, name);
        buf_add_str(out, "\">");
        html_text(out, name);
        buf_add_str(out, "</a>");
    }
    buf_addf(out, "</h2><p class=\"state\"><span class=\"vh\">%s: </span>", tone->word);
    html_text(out, word_of(states, json_str(certificate, "state")));
    if (activity) {
        buf_add_str(out, " <small>");
        html_text(out, activity);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, "</p><p class=\"names\">");
    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        html_text(out, json_string_value(json_array_get(names, i)));
    }
    if (n > NAMES_SHOWN)
        buf_addf(out, " and %zu more", n - NAMES_SHOWN);
    buf_add_str(out, "</p></div>");
}

void page_certificate(struct buf *out, const json_t *certificate, time_t now, bool whole)
{
    buf_addf(out, "<article class=\"%s\">", tone_of(certificate)->class);
    add_title(out, certificate, whole);
    page_time_line(out, certificate, now);
    add_servers(out, certificate, now, whole);
    add_error(out, certificate, now);
    if (whole) {
        buf_add_str(out, "<div class=\"more\">");
        add_facts(out, certificate);
        add_history(out, json_get(certificate, "history"));
        buf_add_str(out, "</div>");
    } else {
        buf_add_str(out, "<details class=\"more\"><summary>Details<span class=\"vh\"> of ");
        html_text(out, json_str(certificate, "name"));
        buf_add_str(out, "</span></summary>");
        add_facts(out, certificate);
        buf_add_str(out, "</details>");
    }
    buf_add_str(out, "</article>\n");
}
