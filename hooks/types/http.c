/* A request to a server's admin interface, and the status that means yes. */
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "hooks/dialogue.h"
#include "hooks/job.h"
#include "hooks/web.h"

#define REPLY_MAX (1024 * 1024)
#define BODY_MAX  (16 * 1024 * 1024)
#define QUOTE_MAX 300

struct header {
    char *name;
    char *text; /* one of these */
    struct secret *secret;
};

struct headers {
    struct header *items;
    size_t n;
};

struct body {
    char *text; /* one of these, or none */
    char *file;
};

struct http_settings {
    int method;
    char *url;
    struct headers headers;
    struct body body;
    int64_t status; /* 0: any 2xx */
};

struct task {
    struct hook_job *job;
    struct web *web;
    int64_t status;
};

/* Settings ------------------------------------------------------------------------------------- */

static const char *const method_names[] = {"GET", "POST", "PUT", NULL};

static void parse_url(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);
    auto_err struct err *e = NULL;

    if (text && !web_check_url(text, &e))
        yaml_problem(in->problems, false, in->node, in->path, NULL, "%s", e->text);
    else
        *(char **)in->to = xstrdup(text);
}

static void done_text(void *member)
{
    set_string(member, NULL);
}

static bool is_token(const char *name)
{
    return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_")] == '\0';
}

static void parse_header(const struct field_in *in, const char *name, const struct yaml_node *value)
{
    struct headers *headers = in->to;
    auto_free char *path = schema_path(in->path, name);
    const struct field secret = {.name = name, .type = FIELD_SECRET};
    struct field_in part = *in;
    struct header h = {.name = xstrdup(name)};

    part.node = value;
    part.path = path;
    if (yaml_node_type(value) == YAML_MAP) {
        part.field = &secret;
        part.to = &h.secret;
        schema_value(&part);
    } else {
        h.text = xstrdup(schema_text(&part, "a text, or {file: PATH} for a secret"));
    }
    const char *text = h.secret ? (const char *)h.secret->data : h.text;
    if (!is_token(name) || (text && strpbrk(text, "\r\n")))
        yaml_problem(in->problems, false, value, path, NULL, "this cannot be sent as a header");
    headers->items = xreallocarray(headers->items, headers->n + 1, sizeof(h));
    headers->items[headers->n++] = h;
}

static void parse_headers(const struct field_in *in)
{
    if (yaml_node_type(in->node) != YAML_MAP) {
        yaml_problem(in->problems, false, in->node, in->path, NULL, "expected %s", in->field->kind);
        return;
    }
    for (size_t i = 0; i < yaml_count(in->node); i++) {
        const struct yaml_node *key, *value = yaml_pair(in->node, i, &key);
        parse_header(in, yaml_key(key), value);
    }
}

static void done_headers(void *member)
{
    struct headers *headers = member;

    for (size_t i = 0; i < headers->n; i++) {
        free(headers->items[i].name);
        free(headers->items[i].text);
        secret_free(headers->items[i].secret);
    }
    free(headers->items);
    *headers = (struct headers){0};
}

static const struct field body_fields[] = {
    {.name = "file", .type = FIELD_PATH, .offset = offsetof(struct body, file), .required = true},
    {0},
};

static void parse_body(const struct field_in *in)
{
    struct body *body = in->to;

    if (yaml_node_type(in->node) == YAML_MAP)
        schema_read(body_fields, in->node, in->path, NULL, body, NULL, in->problems);
    else
        body->text = xstrdup(schema_text(in, in->field->kind));
}

static void done_body(void *member)
{
    struct body *body = member;

    set_string(&body->text, NULL);
    set_string(&body->file, NULL);
}

static const struct field fields[] = {
    {.name = "method",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct http_settings, method),
     .choices = method_names,
     .preset = "POST",
     .help = "of the request"},
    {.name = "url",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct http_settings, url),
     .required = true,
     .parse = parse_url,
     .done = done_text,
     .kind = "a URL, or unix:/path/of/socket:/path/of/request",
     .help = "no proxy is used and no redirect is followed"},
    {.name = "headers",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct http_settings, headers),
     .parse = parse_headers,
     .done = done_headers,
     .kind = "a map of header names to texts",
     .help = "a secret value is written `{file: PATH}`, `{env: NAME}` or `{credential: NAME}`"},
    {.name = "body",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct http_settings, body),
     .parse = parse_body,
     .done = done_body,
     .kind = "a text, or {file: PATH}",
     .help = "what is sent by POST and PUT; a file is read at each reload"},
    {.name = "status",
     .type = FIELD_INT,
     .offset = offsetof(struct http_settings, status),
     .min = 100,
     .max = 599,
     .help = "the status that means that it has loaded; default: any 2xx"},
    {0},
};

/* The request ---------------------------------------------------------------------------------- */

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    web_free(t->web);
    free(t);
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct task *t = userdata;
    auto_err struct err *told = NULL;

    t->web = NULL;
    if (dialogue_is_absent(e)) {
        hook_end(t->job, RELOAD_NOT_RUNNING, NULL);
        return;
    }
    if (e) {
        hook_end(t->job, RELOAD_FAILED, e);
        return;
    }
    if (t->status ? reply->status == t->status : reply->status / 100 == 2) {
        hook_end(t->job, RELOAD_DONE, NULL);
        return;
    }
    int quoted = reply->body_len < QUOTE_MAX ? (int)reply->body_len : QUOTE_MAX;
    err_set(&told, ERR_REFUSED, "the answer to the reload request was %ld instead of %s%s: %.*s",
            reply->status, t->status ? "the status asked for" : "2xx",
            reply->body_len ? "" : " (empty)", quoted, reply->body ? reply->body : "");
    told->code = (int)reply->status;
    hook_end(t->job, RELOAD_FAILED, told);
}

static struct web *send_request(struct task *t, const struct server *s, struct loop *l,
                                const char *body, size_t body_len)
{
    const struct http_settings *settings = s->settings;
    struct headers h = settings->headers;
    char **headers = xcalloc(h.n + 1, sizeof(*headers));

    for (size_t i = 0; i < h.n; i++) {
        const struct header *one = &h.items[i];
        headers[i] = xasprintf("%s: %s", one->name,
                               one->secret ? (const char *)one->secret->data : one->text);
    }
    struct http_request request = {
        .method = method_names[settings->method],
        .url = settings->url,
        .headers = (const char *const *)headers,
        .body = body,
        .body_len = body_len,
        .body_max = REPLY_MAX,
        .timeout_ms = s->timeout_s * 1000,
    };
    struct web *web = web_start(l, &request, on_reply, t);
    for (size_t i = 0; i < h.n; i++) {
        explicit_bzero(headers[i], strlen(headers[i]));
        free(headers[i]);
    }
    free(headers);
    return web;
}

static struct hook_job *http_reload(const struct server *s, struct loop *l,
                                    const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct http_settings *settings = s->settings;
    auto_buf struct buf body;
    auto_err struct err *e = NULL;

    (void)event;
    buf_init(&body, BODY_MAX);
    if (settings->body.file &&
        !file_read(AT_FDCWD, settings->body.file, BODY_MAX, true, &body, &e)) {
        err_wrap(&e, "the body of the reload request");
        return hook_result(l, RELOAD_FAILED, e, fn, userdata);
    }
    if (settings->body.text)
        (void)buf_add_str(&body, settings->body.text);

    struct task *t = xcalloc(1, sizeof(*t));
    t->status = settings->status;
    t->job = hook_task(l, t, task_drop, fn, userdata);
    t->web = send_request(t, s, l, body.data, body.len);
    return t->job;
}

extern const struct server_type server_type_http;
const struct server_type server_type_http = {
    .name = "http",
    .help = "any server that reloads by an HTTP request",
    .settings_size = sizeof(struct http_settings),
    .fields = fields,
    .reload = http_reload,
};
