#include "base/problem.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static void problem_done(struct problem *p)
{
    free(p->file);
    free(p->path);
    free(p->message);
    free(p->source);
    free(p->suggestion);
}

void problems_add(struct problems *p, struct problem problem)
{
    if (!problem.warning)
        p->errors++;
    if (p->n > PROBLEMS_MAX) {
        if (!problem.warning)
            p->items[PROBLEMS_MAX].warning = false;
        problem_done(&problem);
        return;
    }
    if (p->n == PROBLEMS_MAX) {
        bool warning = problem.warning;

        problem_done(&problem);
        problem = (struct problem){
            .warning = warning,
            .message = xasprintf("there are more problems, only %d are shown", PROBLEMS_MAX)};
    }
    p->items = xreallocarray(p->items, p->n + 1, sizeof(*p->items));
    p->items[p->n++] = problem;
}

void problems_add_file(struct problems *p, const char *file, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    auto_free char *raw = xvasprintf(fmt, ap);
    va_end(ap);
    problems_add(p,
                 (struct problem){.file = xstrdup(file), .message = text_escape(raw, strlen(raw))});
}

static int compare(const void *x, const void *y)
{
    const struct problem *a = x, *b = y;
    int files = strcmp(a->file ? a->file : "\xff", b->file ? b->file : "\xff");

    if (files != 0)
        return files;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return strcmp(a->message, b->message);
}

void problems_sort(struct problems *p)
{
    if (p->n > 1)
        qsort(p->items, p->n, sizeof(*p->items), compare);
}

void problems_done(struct problems *p)
{
    for (size_t i = 0; i < p->n; i++)
        problem_done(&p->items[i]);
    free(p->items);
    *p = (struct problems){0};
}

/* The line with each tab as one space, so that the caret below it stands right. */
static void add_source(struct buf *b, const char *source)
{
    auto_free char *flat = xstrdup(source);

    for (char *c = flat; *c; c++) {
        if (*c == '\t')
            *c = ' ';
    }
    auto_free char *shown = text_escape(flat, strlen(flat));

    buf_addf(b, "%s\n", shown);
}

static void add_caret(struct buf *b, const struct problem *p, bool color)
{
    for (int i = 1; i < p->column; i++)
        buf_add_str(b, " ");
    buf_addf(b, "%s^", color ? "\033[1;32m" : "");
    for (int i = 1; i < p->width; i++)
        buf_add_str(b, "~");
    buf_addf(b, "%s\n", color ? "\033[0m" : "");
}

char *problem_text(const struct problem *p, bool color)
{
    const char *bold = color ? "\033[1m" : "", *plain = color ? "\033[0m" : "";
    const char *tone = !color ? "" : p->warning ? "\033[1;35m" : "\033[1;31m";
    auto_buf struct buf b;

    buf_init(&b, 64 * 1024);
    if (p->file) {
        auto_free char *file = text_escape(p->file, strlen(p->file));

        buf_addf(&b, "%s%s:", bold, file);
        if (p->line > 0)
            buf_addf(&b, "%d:%d:", p->line, p->column);
        buf_addf(&b, "%s ", plain);
    }
    buf_addf(&b, "%s%s:%s %s\n", tone, p->warning ? "warning" : "error", plain, p->message);
    if (p->source) {
        add_source(&b, p->source);
        if (p->line > 0)
            add_caret(&b, p, color);
    }
    if (p->suggestion)
        buf_addf(&b, "did you mean \"%s\"?\n", p->suggestion);
    return buf_take(&b);
}

json_t *problem_to_json(const struct problem *p)
{
    json_t *o = json_object();

    json_put_str(o, "severity", p->warning ? "warning" : "error");
    json_put_str(o, "file", p->file);
    json_put(o, "line", p->line > 0 ? json_integer(p->line) : json_null());
    json_put(o, "column", p->line > 0 ? json_integer(p->column) : json_null());
    json_put_str(o, "path", p->path);
    json_put_str(o, "message", p->message);
    json_put_str(o, "source", p->source);
    json_put_str(o, "suggestion", p->suggestion);
    return o;
}
