/* The line is the lifetime, whatever its length; everything on it is a share of it. */
#include "agent/page_time_line.h"

#include <string.h>

#include "agent/html.h"
#include "base/clock.h"

#define MILLE 1000

struct life {
    time_t from, to, renew, now, staple_from, staple_to;
};

static void read_life(struct life *l, const json_t *certificate, time_t now)
{
    const json_t *live = json_get(certificate, "live");
    const json_t *staple = json_get(certificate, "staple");

    *l = (struct life){
        .from = json_time(live, "not_before"),
        .to = json_time(live, "not_after"),
        .renew = json_time(json_get(certificate, "renew"), "at"),
        .now = now,
        .staple_from = json_time(staple, "this_update"),
        .staple_to = json_time(staple, "next_update"),
    };
}

/* Where an instant is on the line, in thousandths of its length. */
static int place(const struct life *l, time_t t)
{
    if (t <= l->from)
        return 0;
    if (t >= l->to)
        return MILLE;
    return (int)(((int64_t)t - (int64_t)l->from) * MILLE / ((int64_t)l->to - (int64_t)l->from));
}

static void add_place(struct buf *out, const char *attribute, int mille)
{
    buf_addf(out, " %s=\"%d.%d%%\"", attribute, mille / 10, mille % 10);
}

static void add_bar(struct buf *out, const char *class, int from, int to)
{
    buf_addf(out, "<rect class=\"%s\"", class);
    add_place(out, "x", from);
    add_place(out, "width", to - from);
    buf_add_str(out, "/>");
}

static void add_label(struct buf *out, const struct life *l)
{
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX], renew[CLOCK_TEXT_MAX];

    clock_rfc3339(l->from, from);
    clock_rfc3339(l->to, to);
    buf_addf(out, " role=\"img\" aria-label=\"Valid from %.10s to %.10s, %d percent are over", from,
             to, place(l, l->now) / 10);
    if (l->renew > 0)
        buf_addf(out, ", renewal at %d percent, %.10s", place(l, l->renew) / 10,
                 clock_rfc3339(l->renew, renew));
    buf_add_str(out, "\">");
}

static void add_drawing(struct buf *out, const struct life *l)
{
    int now = place(l, l->now), renew = place(l, l->renew);

    buf_add_str(out, "<svg class=\"line\" width=\"100%\" height=\"28\"");
    add_label(out, l);
    add_bar(out, "life", 0, MILLE);
    if (l->renew > 0)
        add_bar(out, "reserve", renew, MILLE);
    add_bar(out, "past", 0, now);
    if (l->staple_to > l->from && l->staple_to > l->staple_from)
        add_bar(out, "staple", place(l, l->staple_from), place(l, l->staple_to));
    if (l->renew > 0) {
        buf_add_str(out, "<line class=\"due\" y1=\"1\" y2=\"21\"");
        add_place(out, "x1", renew);
        add_place(out, "x2", renew);
        buf_add_str(out, "/>");
    }
    buf_add_str(out, "<circle class=\"now\" cy=\"11\" r=\"5\"");
    add_place(out, "cx", now);
    buf_add_str(out, "/></svg>");
}

static void add_mark(struct buf *out, const char *class, const char *word, time_t t, time_t now)
{
    buf_addf(out, "<span class=\"mark %s\">%s ", class, word);
    html_time(out, t);
    buf_add_str(out, " <small>");
    html_distance(out, t, now);
    buf_add_str(out, "</small></span>");
}

static void add_staple(struct buf *out, const json_t *certificate, const struct life *l)
{
    const char *status = json_str(json_get(certificate, "staple"), "status");

    if (!status || strcmp(status, "none") == 0)
        return;
    buf_add_str(out, "<span class=\"key\">Staple ");
    html_text(out, status);
    if (l->staple_to > 0) {
        buf_add_str(out, ", until ");
        html_time(out, l->staple_to);
        buf_add_str(out, " <small>");
        html_distance(out, l->staple_to, l->now);
        buf_add_str(out, "</small>");
    }
    buf_add_str(out, "</span>");
}

void page_time_line(struct buf *out, const json_t *certificate, time_t now)
{
    struct life l;

    read_life(&l, certificate, now);
    buf_add_str(out, "<div class=\"time\">");
    if (l.from == 0 || l.to <= l.from) {
        buf_add_str(out, "<p class=\"none\">There is no certificate yet.</p></div>");
        return;
    }
    add_drawing(out, &l);
    buf_add_str(out, "<p class=\"marks\">");
    add_mark(out, "begin", "From", l.from, now);
    if (l.renew > 0)
        add_mark(out, "due", "Renewal", l.renew, now);
    add_mark(out, "end", l.to <= now ? "Expired" : "Until", l.to, now);
    add_staple(out, certificate, &l);
    buf_add_str(out, "</p></div>");
}
