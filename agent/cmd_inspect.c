#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cmd.h"
#include "agent/inspection.h"
#include "base/clock.h"
#include "base/file.h"
#include "pki/endpoint.h"
#include "pki/name.h"
#include "pki/starttls.h"

#define SCHEMA           "everleaf.inspect/1"
#define PROBE_TIMEOUT_MS 10000
#define ADDRESSES_MAX    16 /* resolve_start() gives no more */

/* Looking at an endpoint
 * ----------------------------------------------------------------------------- */

/* One address after the other, until one shows a certificate. */
struct look {
    struct loop *loop;
    struct inspection *inspection;
    enum starttls starttls;
    struct address addresses[ADDRESSES_MAX];
    size_t n, at;
    struct err *err; /* the first failure */
};

static void look_failed(struct look *l, const struct err *e)
{
    if (!l->err)
        l->err = err_copy(e);
}

static void on_probed(const struct probe_result *result, const struct err *e, void *userdata);

static void look_on(struct look *l)
{
    if (l->at == l->n) {
        loop_exit(l->loop, 0);
        return;
    }
    struct probe_spec spec = {
        .sni = l->inspection->sni, .starttls = l->starttls, .timeout_ms = PROBE_TIMEOUT_MS};

    probe_start(l->loop, &l->addresses[l->at], &spec, on_probed, l);
}

static void on_probed(const struct probe_result *result, const struct err *e, void *userdata)
{
    struct look *l = userdata;

    if (result) {
        inspection_take_probe(l->inspection, result);
        l->inspection->address = xstrdup(l->addresses[l->at].text);
        loop_exit(l->loop, 0);
        return;
    }
    look_failed(l, e);
    l->at++;
    look_on(l);
}

static void on_resolved(const struct address *addresses, size_t n, const struct err *e,
                        void *userdata)
{
    struct look *l = userdata;

    if (e)
        look_failed(l, e);
    l->n = n < ADDRESSES_MAX ? n : ADDRESSES_MAX;
    for (size_t i = 0; i < l->n; i++)
        l->addresses[i] = addresses[i];
    look_on(l);
}

static bool look_at(struct inspection *i, const struct endpoint *endpoint, enum starttls starttls,
                    struct err **err)
{
    struct look l = {.inspection = i, .starttls = starttls};
    struct worker *worker = NULL;

    l.loop = loop_new(err);
    if (l.loop)
        worker = worker_new(l.loop, 1, err);
    if (worker) {
        resolve_start(worker, endpoint, on_resolved, &l);
        loop_run(l.loop);
    }
    worker_free(worker);
    loop_free(l.loop);
    if (i->chain) {
        err_free(l.err);
        return true;
    }
    return l.err ? err_move(err, &l.err) : false;
}

/* Arguments
 * ------------------------------------------------------------------------------------------ */

struct request {
    const char *target, *sni, *ca_file, *starttls;
    enum starttls protocol;
    struct endpoint endpoint;
    bool is_endpoint;
    char *host; /* whose name the certificate should have, or NULL */
};

static void request_done(struct request *r)
{
    endpoint_done(&r->endpoint);
    free(r->host);
}

/* A file that is there is a file; else what has a colon and no slash is meant as an endpoint. */
static bool looks_like_endpoint(const char *target)
{
    struct stat st;

    if (strncmp(target, "unix:", 5) == 0)
        return true;
    return stat(target, &st) != 0 && strchr(target, ':') && !strchr(target, '/');
}

static bool read_starttls(struct request *r, struct err **err)
{
    if (!starttls_parse(r->starttls, &r->protocol)) {
        auto_free char *names = NULL;
        for (size_t i = 0; starttls_names[i]; i++)
            set_string(&names, xasprintf("%s%s%s", names ? names : "", i > 0 ? ", " : "",
                                         starttls_names[i]));
        const char *nearest = schema_nearest(r->starttls, starttls_names);

        err_set(err, ERR_CONFIG, "--starttls: no protocol \"%s\"; there are %s", r->starttls,
                names);
        return nearest ? err_hint(err, "did you mean \"%s\"?", nearest) : false;
    }
    return r->is_endpoint || err_set(err, ERR_CONFIG, "--starttls is for endpoints");
}

static bool request_read(struct request *r, struct inspection *i, struct err **err)
{
    r->is_endpoint = looks_like_endpoint(r->target);
    if (r->is_endpoint && !endpoint_parse(r->target, &r->endpoint, err))
        return false;
    if (r->starttls && !read_starttls(r, err))
        return false;
    if (r->sni) {
        r->host = name_canonical(r->sni, err);
        if (!r->host)
            return err_wrap(err, "--sni");
    } else if (r->endpoint.host) {
        /* Names of one label or with underscores are no names of certificates, but may be asked. */
        r->host = name_canonical(r->endpoint.host, NULL);
        if (!r->host)
            r->host = xstrdup(r->endpoint.host);
    }
    if (!r->is_endpoint)
        return true;
    i->connect = xstrdup(r->target);
    if (r->host && name_type(r->host) == NAME_DNS) /* RFC 6066 3: no addresses in SNI */
        i->sni = xstrdup(r->host);
    return true;
}

/* Results
 * -------------------------------------------------------------------------------------------- */

/* Without -c whatever is usable is used, and nothing is said about what is not: this verb needs no
 * configuration. */
static struct config *find_config(const struct cmd_options *options, bool *ret_bad)
{
    struct problems problems = {.apart = true};

    if (options->config_file) {
        struct config *c = cmd_view_config(options);
        *ret_bad = c == NULL;
        return c;
    }
    auto_free char *file = config_path(NULL);
    struct config *c = NULL;
    if (!file)
        c = config_from_environment(&problems);
    else if (access(file, R_OK) == 0)
        c = config_load(file, &problems);
    problems_done(&problems);
    return c;
}

static bool inspect(const struct request *r, const struct config *config, struct inspection *i,
                    struct err **err)
{
    auto_err struct err *e = NULL;

    if (r->ca_file && access(r->ca_file, R_OK) != 0)
        return err_set_errno(err, errno, "reading the CA file %s", r->ca_file);
    if (r->is_endpoint ? !look_at(i, &r->endpoint, r->protocol, err)
                       : !inspection_read(i, r->target, err)) {
        if (!r->is_endpoint && !strchr(r->target, '/') && err_is_absent(*err))
            err_hint(err, "an endpoint is written HOST:PORT");
        return false;
    }
    inspection_judge(i, r->ca_file, r->host, clock_now());
    if (config && !inspection_compare(i, config, r->host, &e)) {
        err_wrap(&e, "cannot tell what is managed here");
        cmd_report(e);
    }
    return true;
}

static int show(const struct cmd_options *options, const struct inspection *i)
{
    if (options->json) {
        auto_json json_t *j = inspection_to_json(i);
        auto_free char *text = json_text(j);
        fputs(text, stdout);
    } else {
        inspection_print(stdout, i, clock_now());
    }
    return inspection_exit(i);
}

static int inspect_and_show(struct request *r, const struct cmd_options *options)
{
    struct inspection i = {0};
    auto_err struct err *e = NULL;
    bool bad_config = false;
    int status = EXIT_USAGE;

    if (!request_read(r, &i, &e)) {
        cmd_fail(options, SCHEMA, e, EXIT_USAGE);
        inspection_done(&i);
        return EXIT_USAGE;
    }
    struct config *config = find_config(options, &bad_config);
    if (bad_config) {
        err_set(&e, ERR_CONFIG, "the configuration %s is bad", options->config_file);
        cmd_fail(options, SCHEMA, e, EXIT_USAGE);
    } else if (!inspect(r, config, &i, &e)) {
        status = cmd_fail(options, SCHEMA, e, EXIT_UNKNOWN);
    } else {
        status = show(options, &i);
    }
    config_unref(config);
    inspection_done(&i);
    return status;
}

static int run(int argc, char **argv, struct cmd_options *options)
{
    struct request r = {0};
    const struct cmd_flag flags[] = {{.name = "--sni", .value = &r.sni},
                                     {.name = "--starttls", .value = &r.starttls},
                                     {.name = "--ca-file", .value = &r.ca_file},
                                     {0}};
    auto_strv struct strv args = {0};
    auto_err struct err *e = NULL;

    if (!cmd_parse(argc, argv, flags, options, 1, &args))
        return EXIT_USAGE;
    if (args.n == 0) {
        err_set(&e, ERR_CONFIG, "inspect what? Name a file or HOST:PORT");
        return cmd_fail(options, SCHEMA, e, EXIT_USAGE);
    }
    r.target = args.items[0];
    int status = inspect_and_show(&r, options);
    request_done(&r);
    return status;
}

const struct verb verb_inspect = {
    .name = "inspect",
    .arguments = "FILE|HOST:PORT",
    .summary = "what a PEM file or a TLS endpoint holds, and whether it is what is live",
    .help =
        "Shows certificate, chain, validity, key and trust of a PEM file (or of a folder such as\n"
        "live/NAME), or what a TLS endpoint serves, with protocol, cipher and time of the "
        "handshake.\n"
        "With a configuration it also says whether that is what is live here. Needs none, "
        "though.\n\n"
        "  --sni NAME        the name to ask the endpoint for, and to look for in the certificate\n"
        "  --starttls PROTO  what is spoken there before TLS: smtp, imap, pop3, ftp, ldap,\n"
        "                    postgres, mysql, xmpp\n"
        "  --ca-file FILE    trust these CAs instead of the system's\n\n"
        "Exit status: 0 shown (an unknown CA included), 3 expired, key and certificate do not "
        "belong\n"
        "together, or other than what is live for its names, 4 unreadable or unreachable.\n\n"
        "Examples:\n"
        "  everleaf inspect www.example.org:443\n"
        "  everleaf inspect 127.0.0.1:443 --sni www.example.org\n"
        "  everleaf inspect mail.example.org:25 --starttls smtp\n"
        "  everleaf inspect /var/lib/everleaf/live/www\n"
        "  everleaf inspect fullchain.pem --ca-file ca.pem --json\n",
    .run = run,
};
