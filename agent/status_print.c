/* Text is made from the document, so that it says what --json says. The document may come from
 * another process: whatever it holds, no control character reaches the terminal raw. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/print.h"
#include "agent/status.h"
#include "base/clock.h"

#define GAP 2

static const char *const color_codes[] = {"\033[32m", "\033[33m", "\033[31m"};
#define COLOR_END "\033[0m"

/* Pieces --------------------------------------------------------------------------------------- */

static const char *color_of(const json_t *certificate, bool color)
{
    int64_t status = json_int(certificate, "exit");

    return !color ? "" : color_codes[status == 0 ? 0 : status == 1 ? 1 : 2];
}

static const char *end_of(bool color)
{
    return color ? COLOR_END : "";
}

/* "2026-11-24T10:00:00Z (in 9m)"; caller frees. */
static char *instant_text(time_t at, time_t now)
{
    char when[CLOCK_TEXT_MAX], left[CLOCK_TEXT_MAX];

    clock_rfc3339(at, when);
    if (at <= now)
        return xstrdup(when);
    return xasprintf("%s (in %s)", when, duration_text((int64_t)at - (int64_t)now, left));
}

/* An error as lines: what failed, where, when it is tried again, what to do. */
static void put_error(FILE *out, int indent, const json_t *error, time_t next_try, time_t now,
                      bool color)
{
    const char *text = json_str(error, "text");
    const char *step = json_str(error, "step");

    if (text) {
        fputs(color ? color_codes[2] : "", out);
        fprintf(out, "%*serror:%s ", indent, "", end_of(color));
        if (step) {
            print_escaped(out, step);
            fputs(": ", out);
        }
        print_escaped(out, text);
        fputc('\n', out);
    }
    print_line(out, indent, "where:", json_str(error, "where"));
    if (next_try > 0) {
        auto_free char *when = instant_text(next_try, now);
        print_line(out, indent, "next try:", when);
    }
    print_line(out, indent, "hint:", json_str(error, "hint"));
}

/* Table ---------------------------------------------------------------------------------------- */

enum column { NAME, STATE, EXPIRES, RENEWS, SERVED, ISSUER, COLUMNS };

struct row {
    char *cells[COLUMNS];
};

static char *until_text(time_t at, time_t now, const char *past)
{
    char text[CLOCK_TEXT_MAX];

    if (at == 0)
        return xstrdup("-");
    return xstrdup(at <= now ? past : duration_text((int64_t)at - (int64_t)now, text));
}

static char *served_text(const json_t *certificate)
{
    const json_t *servers = json_get(certificate, "servers");
    size_t served = 0, all = 0;
    bool pending = false;

    for (size_t i = 0; i < json_array_size(servers); i++) {
        const json_t *server = json_array_get(servers, i);
        const json_t *endpoints = json_get(server, "endpoints");
        const char *state = json_str(server, "state");
        for (size_t j = 0; j < json_array_size(endpoints); j++)
            served += json_bool(json_array_get(endpoints, j), "serves_live");
        all += json_array_size(endpoints);
        pending = pending || !state || strcmp(state, "pending") == 0;
    }
    if (!json_str(json_get(certificate, "live"), "sha256") || (all == 0 && pending))
        return xstrdup("-");
    if (all == 0)
        return xstrdup("not proven: no endpoint");
    return xasprintf("%zu of %zu endpoint%s", served, all, all == 1 ? "" : "s");
}

/* Takes the text. */
static char *safe_cell(const char *text)
{
    return text_escape(text ? text : "-", strlen(text ? text : "-"));
}

static void fill_row(struct row *row, const json_t *certificate, time_t now)
{
    row->cells[NAME] = safe_cell(json_str(certificate, "name"));
    row->cells[STATE] = safe_cell(json_str(certificate, "state"));
    row->cells[EXPIRES] =
        until_text(json_time(json_get(certificate, "live"), "not_after"), now, "expired");
    row->cells[RENEWS] = until_text(json_time(json_get(certificate, "renew"), "at"), now, "now");
    row->cells[SERVED] = served_text(certificate);
    row->cells[ISSUER] = safe_cell(json_str(certificate, "issuer"));
}

/* 0: no terminal, nothing is cut. */
static size_t terminal_width(FILE *out)
{
    struct winsize size;
    int fd = fileno(out);

    if (fd < 0 || !isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

/* Cells are ASCII: names of the configuration are, and escaping leaves only printable text. What
 * would pass the width is cut. */
static void put_row(FILE *out, const struct row *row, const size_t *widths, size_t width,
                    const char *color)
{
    size_t left = width > 0 ? width : SIZE_MAX;

    for (int c = 0; c < COLUMNS && left > 0; c++) {
        size_t len = strlen(row->cells[c]);
        size_t shown = len < left ? len : left;
        bool colored = c == STATE && *color;
        fprintf(out, "%s%.*s%s", colored ? color : "", (int)shown, row->cells[c],
                colored ? COLOR_END : "");
        left -= shown;
        size_t pad = c == ISSUER ? 0 : widths[c] - len + GAP;
        pad = pad < left ? pad : left;
        fprintf(out, "%*s", (int)pad, "");
        left -= pad;
    }
    fputc('\n', out);
}

static void put_below(FILE *out, const json_t *certificate, time_t now, bool color)
{
    print_line(out, 4, "doing:", json_str(certificate, "activity"));
    put_error(out, 4, json_get(certificate, "error"), json_time(certificate, "next_try"), now,
              color);
}

static void print_table(FILE *out, const json_t *list, time_t now, bool color)
{
    static char titles[COLUMNS][10] = {
        [NAME] = "NAME",     [STATE] = "STATE",   [EXPIRES] = "EXPIRES",
        [RENEWS] = "RENEWS", [SERVED] = "SERVED", [ISSUER] = "ISSUER"};
    size_t n = json_array_size(list);
    struct row *rows = xcalloc(n + 1, sizeof *rows); /* the titles first */
    size_t widths[COLUMNS] = {0};
    size_t width = terminal_width(out);

    for (int c = 0; c < COLUMNS; c++)
        rows[0].cells[c] = titles[c];
    for (size_t i = 0; i < n; i++)
        fill_row(&rows[i + 1], json_array_get(list, i), now);
    for (size_t i = 0; i <= n; i++) {
        for (int c = 0; c < COLUMNS; c++) {
            size_t len = strlen(rows[i].cells[c]);
            widths[c] = len > widths[c] ? len : widths[c];
        }
    }
    put_row(out, &rows[0], widths, width, "");
    for (size_t i = 0; i < n; i++) {
        const json_t *certificate = json_array_get(list, i);
        put_row(out, &rows[i + 1], widths, width, color_of(certificate, color));
        put_below(out, certificate, now, color);
        for (int c = 0; c < COLUMNS; c++)
            free(rows[i + 1].cells[c]);
    }
    free(rows);
}

/* Detail --------------------------------------------------------------------------------------- */

static void put_joined(FILE *out, int indent, const char *label, const json_t *object,
                       const char *member)
{
    auto_strv struct strv list = {0};

    json_read_strv(object, member, &list);
    auto_free char *text = list.n > 0 ? strv_join(&list, ", ") : NULL;
    print_line(out, indent, label, text);
}

static void put_live(FILE *out, const json_t *certificate, time_t now)
{
    const json_t *live = json_get(certificate, "live");
    time_t end = json_time(live, "not_after");
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];

    if (!json_str(live, "sha256")) {
        print_line(out, 2, "certificate", "none");
        return;
    }
    print_linef(out, 2, "generation", "%lld (newest %lld)",
                (long long)json_int(certificate, "generation"),
                (long long)json_int(certificate, "newest_generation"));
    put_joined(out, 2, "certificate", live, "names");
    print_line(out, 2, "issued by", json_str(live, "issuer_cn"));
    print_line(out, 2, "serial", json_str(live, "serial"));
    print_line(out, 2, "sha256", json_str(live, "sha256"));
    print_line(out, 2, "key", json_str(live, "key_type"));
    auto_free char *left = until_text(end, now, "expired");
    print_linef(out, 2, "valid", "%s to %s (%s%s)",
                clock_rfc3339(json_time(live, "not_before"), from), clock_rfc3339(end, to), left,
                end > now ? " left" : "");
    print_line(out, 2, "staple", json_str(json_get(certificate, "staple"), "status"));
}

static void put_renewal(FILE *out, const json_t *certificate, time_t now)
{
    const json_t *renew = json_get(certificate, "renew");
    time_t at = json_time(renew, "at");
    int64_t failures = json_int(certificate, "failures");
    const char *reason = json_str(renew, "reason");

    if (at > 0) {
        auto_free char *when = instant_text(at, now);
        print_linef(out, 2, "renewal", "%s%s%s", when, reason ? ", " : "", reason ? reason : "");
    }
    print_line(out, 2, "explained", json_str(json_get(renew, "ari"), "url"));
    if (failures > 0)
        print_linef(out, 2, "failures", "%lld in a row", (long long)failures);
}

static void put_outputs(FILE *out, const json_t *list, time_t now, bool color)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *output = json_array_get(list, i);
        const char *type = json_str(output, "type"), *path = json_str(output, "path");
        int64_t generation = json_int(output, "generation");
        auto_free char *number =
            generation > 0 ? xasprintf("generation %lld", (long long)generation) : NULL;
        print_linef(out, 2, "output", "%s %s: %s", type ? type : "?", path ? path : "?",
                    number ? number : "nothing written");
        put_error(out, 6, json_get(output, "error"), 0, now, color);
    }
}

static void put_endpoint(FILE *out, const json_t *endpoint, time_t now, bool color)
{
    const char *connect = json_str(endpoint, "connect"), *address = json_str(endpoint, "address");
    const char *sni = json_str(endpoint, "sni");
    bool other = json_str(endpoint, "sha256") != NULL;
    time_t checked = json_time(endpoint, "checked_at");
    char when[CLOCK_TEXT_MAX];

    if (address && connect && strcmp(address, connect) == 0)
        address = NULL;
    print_linef(out, 4, "endpoint", "%s%s%s%s%s%s: %s%s%s", connect ? connect : "?",
                address ? " (" : "", address ? address : "", address ? ")" : "",
                sni && *sni ? " as " : "", sni ? sni : "",
                json_bool(endpoint, "serves_live") ? "serves it"
                : other                            ? "serves another certificate"
                                                   : "no answer",
                checked > 0 ? ", seen " : "", checked > 0 ? clock_rfc3339(checked, when) : "");
    put_error(out, 6, json_get(endpoint, "error"), 0, now, color);
}

static void put_servers(FILE *out, const json_t *list, time_t now, bool color)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *server = json_array_get(list, i);
        const json_t *endpoints = json_get(server, "endpoints");
        const char *name = json_str(server, "name"), *state = json_str(server, "state");
        time_t reloaded = json_time(server, "reloaded_at");
        char when[CLOCK_TEXT_MAX];
        print_linef(out, 2, "server", "%s: %s%s%s%s", name ? name : "?", state ? state : "?",
                    json_array_size(endpoints) == 0 ? ", not proven: no endpoint" : "",
                    reloaded > 0 ? ", reloaded " : "",
                    reloaded > 0 ? clock_rfc3339(reloaded, when) : "");
        put_error(out, 6, json_get(server, "error"), 0, now, color);
        for (size_t j = 0; j < json_array_size(endpoints); j++)
            put_endpoint(out, json_array_get(endpoints, j), now, color);
    }
}

static void put_history(FILE *out, const json_t *list)
{
    if (json_array_size(list) > 0)
        fputs("  history\n", out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *event = json_str(entry, "event"), *text = json_str(entry, "text");
        char when[CLOCK_TEXT_MAX];
        fprintf(out, "    %s  ", clock_rfc3339(json_time(entry, "at"), when));
        print_line(out, 0, event ? event : "?", text ? text : "");
    }
}

static void print_detail(FILE *out, const json_t *certificate, time_t now, bool color)
{
    const char *name = json_str(certificate, "name"), *state = json_str(certificate, "state");

    print_escaped(out, name ? name : "?");
    fputc('\n', out);
    put_joined(out, 2, "names", certificate, "names");
    print_line(out, 2, "issuer", json_str(certificate, "issuer"));
    fprintf(out, "  %-*s%s", PRINT_LABEL_WIDTH, "state", color_of(certificate, color));
    print_escaped(out, state ? state : "?");
    fprintf(out, "%s\n", end_of(color));
    print_line(out, 2, "activity", json_str(certificate, "activity"));
    put_live(out, certificate, now);
    put_renewal(out, certificate, now);
    put_error(out, 2, json_get(certificate, "error"), json_time(certificate, "next_try"), now,
              color);
    put_outputs(out, json_get(certificate, "outputs"), now, color);
    put_servers(out, json_get(certificate, "servers"), now, color);
    put_history(out, json_get(certificate, "history"));
}

/* What concerns the agent itself, where it is not as it should be. */
static void put_agent(FILE *out, const json_t *document, time_t now, bool color)
{
    const json_t *agent = json_get(document, "agent");
    const json_t *error = json_get(json_get(agent, "config"), "error");

    if (!json_bool(agent, "running"))
        fputs("\nNo agent is running; this is what is on disk.\n", out);
    if (json_str(error, "text")) {
        fputs("\nThe configuration was refused; the one before is in use.\n", out);
        put_error(out, 4, error, 0, now, color);
    }
}

void status_print(FILE *out, const json_t *document, bool detail, bool color)
{
    const json_t *list = json_get(document, "certificates");
    time_t now = json_time(document, "time");

    if (detail) {
        for (size_t i = 0; i < json_array_size(list); i++)
            print_detail(out, json_array_get(list, i), now, color);
    } else if (json_array_size(list) == 0) {
        fputs("No certificates are configured.\n", out);
    } else {
        print_table(out, list, now, color);
    }
    put_agent(out, document, now, color);
}
