#include "base/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log_catalog.h"

#define VALUE_MAX 4096

static const struct {
    const char *name;
    const char *color; /* ANSI, select graphic rendition */
    int priority;      /* of syslog */
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", "2", 7},
    [LOG_LEVEL_INFO] = {"info", "32", 6},
    [LOG_LEVEL_WARNING] = {"warning", "33", 4},
    [LOG_LEVEL_ERROR] = {"error", "31", 3},
};

static char *escape(const char *s)
{
    size_t len = strnlen(s, VALUE_MAX + 1);

    if (len <= VALUE_MAX)
        return text_escape(s, len);
    auto_free char *cut = text_escape(s, VALUE_MAX);
    return xasprintf("%s...", cut);
}

static const char *value_of(const struct log_line *l, const char *name)
{
    for (size_t i = 0; i < l->n_fields; i++)
        if (strcmp(l->fields[i].name, name) == 0)
            return l->fields[i].value;
    return NULL;
}

void log_line_init(struct log_line *l, enum log_level level, const char *file, int line,
                   const char *event)
{
    *l = (struct log_line){.level = level, .at_us = clock_now_us(), .file = file, .line = line};
    l->event = escape(event);
}

void log_line_add(struct log_line *l, const char *name, const char *value)
{
    if (!value || value_of(l, name) || l->n_fields == LOG_FIELDS_MAX)
        return;
    l->fields[l->n_fields++] = (struct log_field){.name = name, .value = escape(value)};
}

void log_line_done(struct log_line *l)
{
    for (size_t i = 0; i < l->n_fields; i++)
        free(l->fields[i].value);
    free(l->event);
    *l = (struct log_line){0};
}

/* Text ----------------------------------------------------------------------------------------- */

static void add_quoted(struct buf *b, const char *value)
{
    buf_add_str(b, "\"");
    for (const char *c = value; *c; c++) {
        if (*c == '"')
            buf_add_str(b, "\\");
        buf_add(b, c, 1);
    }
    buf_add_str(b, "\"");
}

/* "event: error name=value name="two words"": what a person reads */
static void add_sentence(const struct log_line *l, struct buf *b)
{
    const char *error = value_of(l, "error");

    buf_add_str(b, l->event);
    if (error)
        buf_addf(b, ": %s", error);
    for (size_t i = 0; i < l->n_fields; i++) {
        const struct log_field *f = &l->fields[i];

        if (f->value == error)
            continue;
        buf_addf(b, " %s=", f->name);
        if (*f->value && !strpbrk(f->value, " \"="))
            buf_add_str(b, f->value);
        else
            add_quoted(b, f->value);
    }
}

void log_line_text(const struct log_line *l, bool color, struct buf *b)
{
    char time[CLOCK_TEXT_MAX];

    buf_add_str(b, clock_rfc3339((time_t)(l->at_us / 1000000), time));
    if (color)
        buf_addf(b, " \x1b[%sm%-7s\x1b[0m ", levels[l->level].color, levels[l->level].name);
    else
        buf_addf(b, " %-7s ", levels[l->level].name);
    add_sentence(l, b);
    buf_add_str(b, "\n");
}

/* JSON ----------------------------------------------------------------------------------------- */

void log_line_json(const struct log_line *l, struct buf *b)
{
    auto_json json_t *j = json_object();
    char text[CLOCK_TEXT_MAX];

    clock_rfc3339((time_t)(l->at_us / 1000000), text);
    *strchr(text, 'Z') = '\0';
    auto_free char *time = xasprintf("%s.%03dZ", text, (int)(l->at_us / 1000 % 1000));
    json_put_str(j, "time", time);
    json_put_str(j, "level", levels[l->level].name);
    json_put_str(j, "event", l->event);
    for (size_t i = 0; i < l->n_fields; i++)
        if (!json_get(j, l->fields[i].name))
            json_put_str(j, l->fields[i].name, l->fields[i].value);
    if (log_message_id(l->event))
        json_put_str(j, "message_id", log_message_id(l->event));
    auto_free char *line = json_dumps(j, JSON_COMPACT); /* in this order, unlike json_compact() */
    buf_add_str(b, line);
    buf_add_str(b, "\n");
}

/* Journal -------------------------------------------------------------------------------------- */

/* The simple form of the native protocol, "NAME=value\n", is enough: escaping left no newline. */
void log_line_journal(const struct log_line *l, struct buf *b)
{
    buf_add_str(b, "MESSAGE=");
    add_sentence(l, b);
    buf_addf(b, "\nPRIORITY=%d\nSYSLOG_IDENTIFIER=everleaf\nCODE_FILE=%s\nCODE_LINE=%d\n",
             levels[l->level].priority, l->file, l->line);
    for (size_t i = 0; i < l->n_fields; i++) {
        buf_add_str(b, "EVERLEAF_");
        for (const char *c = l->fields[i].name; *c; c++) {
            char upper = (char)toupper((unsigned char)*c);
            buf_add(b, &upper, 1);
        }
        buf_addf(b, "=%s\n", l->fields[i].value);
    }
    if (log_message_id(l->event))
        buf_addf(b, "MESSAGE_ID=%s\n", log_message_id(l->event));
}
