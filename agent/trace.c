#include "agent/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/trace_settings.h"
#include "base/backoff.h"
#include "base/clock.h"

#define ATTEMPT_LEN   16 /* hexadecimal */
#define STEPS_MAX     200
#define STEP_NAME_MAX 80

enum status_code { STATUS_UNSET = 0, STATUS_OK = 1, STATUS_ERROR = 2 };

struct span {
    char id[ATTEMPT_LEN + 1];
    char *name;
    int64_t start_us;
    json_t *attributes;
};

struct trace {
    struct trace_export *export;
    char attempt[ATTEMPT_LEN + 1];
    struct span root, step; /* step.name NULL: between steps */
    json_t *done;           /* spans, still without their trace's id */
};

/* Spans ---------------------------------------------------------------------------------------- */

static void begin_span(struct span *s, const char *name)
{
    uint32_t low = random_u32();

    snprintf(s->id, sizeof s->id, "%08" PRIx32 "%08" PRIx32, random_u32(), low ? low : 1);
    s->name = xstrdup(name);
    s->start_us = clock_now_us();
    s->attributes = json_array();
}

static void add_attribute(struct span *s, const char *name, const char *value)
{
    if (value)
        json_array_append_new(s->attributes, trace_attribute(name, value));
}

/* OTLP's JSON has 64-bit numbers as strings. */
static void put_nanoseconds(json_t *j, const char *name, int64_t us)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64 "000", us);
    json_put_str(j, name, text);
}

/* Frees what is in the span. */
static json_t *end_span(struct span *s, const char *parent, const struct err *e)
{
    json_t *j = json_object();
    json_t *status = json_object();
    int64_t now_us = clock_now_us();

    if (e) {
        add_attribute(s, "error.type", err_kind_name(e->kind));
        add_attribute(s, "everleaf.step", e->step);
        json_put_str(status, "message", e->text);
    }
    json_put_int(status, "code", e ? STATUS_ERROR : STATUS_OK);
    json_put_str(j, "spanId", s->id);
    if (parent)
        json_put_str(j, "parentSpanId", parent);
    json_put_str(j, "name", s->name);
    json_put_int(j, "kind", 1); /* internal */
    put_nanoseconds(j, "startTimeUnixNano", s->start_us);
    put_nanoseconds(j, "endTimeUnixNano", now_us > s->start_us ? now_us : s->start_us);
    json_put(j, "attributes", take(s->attributes));
    json_put(j, "status", status);
    set_string(&s->name, NULL);
    return j;
}

static void end_step(struct trace *t, const struct err *e)
{
    if (t->step.name)
        json_array_append_new(t->done, end_span(&t->step, t->root.id, e));
}

/* "waiting for the CA to validate www.example.org and 3 more" is the same step for everybody. */
static void step_name(char out[STEP_NAME_MAX], const char *text)
{
    size_t used = 0;

    while (*text) {
        size_t word = strcspn(text, " ");
        if (memchr(text, '.', word) || memchr(text, ':', word) || used + word + 2 > STEP_NAME_MAX)
            break;
        if (used > 0)
            out[used++] = ' ';
        memcpy(out + used, text, word);
        used += word;
        text += word;
        text += *text == ' ';
    }
    out[used] = '\0';
}

/* Public --------------------------------------------------------------------------------------- */

struct trace *trace_begin(struct trace_export *x, const struct trace_subject *subject)
{
    if (!x)
        return NULL;
    struct trace *t = xcalloc(1, sizeof *t);
    t->export = x;
    t->done = json_array();
    begin_span(&t->root, subject->run);
    add_attribute(&t->root, "everleaf.certificate", subject->certificate);
    add_attribute(&t->root, "everleaf.issuer", subject->issuer);
    add_attribute(&t->root, "everleaf.reason", subject->reason);
    trace_set_attempt(t, subject->attempt);
    return t;
}

void trace_set_attempt(struct trace *t, const char *attempt)
{
    if (t)
        snprintf(t->attempt, sizeof t->attempt, "%s", attempt);
}

void trace_step(struct trace *t, const char *text)
{
    char name[STEP_NAME_MAX];

    if (!t)
        return;
    step_name(name, text);
    if (t->step.name && strcmp(t->step.name, name) == 0)
        return;
    end_step(t, NULL);
    if (json_array_size(t->done) < STEPS_MAX) {
        begin_span(&t->step, name);
        add_attribute(&t->step, "everleaf.activity", text);
    }
}

/* What an attempt that was read from disk holds may be no id. */
static void trace_id(const struct trace *t, char out[2 * ATTEMPT_LEN + 1])
{
    bool good = strlen(t->attempt) == ATTEMPT_LEN &&
                strspn(t->attempt, "0123456789abcdef") == ATTEMPT_LEN &&
                strspn(t->attempt, "0") < ATTEMPT_LEN;

    snprintf(out, 2 * ATTEMPT_LEN + 1, "%016d%s", 0, good ? t->attempt : t->root.id);
}

void trace_end(struct trace *t, const char *result, const struct err *e)
{
    char id[2 * ATTEMPT_LEN + 1];
    json_t *span;
    size_t i;

    if (!t)
        return;
    end_step(t, e);
    add_attribute(&t->root, "everleaf.attempt", t->attempt);
    add_attribute(&t->root, "everleaf.result", result);
    json_array_append_new(t->done, end_span(&t->root, NULL, e));
    trace_id(t, id);
    json_array_foreach(t->done, i, span)
    {
        json_put_str(span, "traceId", id);
        trace_export_add(t->export, json_incref(span));
    }
    json_decref(t->done);
    free(t);
}
