/* Strategy: a chain of asynchronous calls; each reply's callback sends the next.
 *
 *   Subscribe, LoadUnit  ->  LoadState, ActiveState, MainPID  ->  ReloadUnit  ->  JobRemoved
 *
 * The reply of ReloadUnit names the job. Its JobRemoved may be read before that reply, so the ends
 * of all jobs of our unit are remembered until then. */
#include "base/bus.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/strv.h"

#define MANAGER    "org.freedesktop.systemd1"
#define PATH       "/org/freedesktop/systemd1"
#define INTERFACE  MANAGER ".Manager"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define ENDS_MAX   64 /* remembered */

struct bus_job {
    struct loop *loop;
    sd_bus *bus;
    struct timer *timer; /* the time-out, or to tell */
    enum bus_action action;
    char *unit;
    pid_t main_pid;
    char *object;     /* of the unit */
    char *job;        /* object path, NULL until ReloadUnit was answered */
    struct strv ends; /* "JOB RESULT" */
    enum bus_outcome outcome;
    struct err *err;
    bool called, told;
    bus_job_fn *fn;
    void *userdata;
};

static const struct {
    const char *method, *verb, *noun;
} actions[] = {
    [BUS_RELOAD] = {"ReloadUnit", "reload", "reload"},
    [BUS_TRY_RESTART] = {"TryRestartUnit", "try-restart", "restart"},
    [BUS_RELOAD_OR_RESTART] = {"ReloadOrTryRestartUnit", "reload-or-try-restart",
                               "reload or restart"},
};

void bus_job_free(struct bus_job *j)
{
    if (!j || j->called)
        return;
    timer_free(j->timer);
    if (j->bus) {
        sd_bus_detach_event(j->bus);
        sd_bus_close_unref(j->bus); /* pending calls go with it */
    }
    strv_done(&j->ends);
    err_free(j->err);
    free(j->unit);
    free(j->object);
    free(j->job);
    free(j);
}

static void on_turn(void *userdata)
{
    struct bus_job *j = userdata;

    j->called = true;
    j->fn(j->outcome, j->err, j->userdata);
    j->called = false;
    bus_job_free(j);
}

/* On a turn of its own, because sd-bus is still busy with the message that brought us here; what it
 * brings after that is not looked at any more. */
static int tell(struct bus_job *j, enum bus_outcome outcome)
{
    if (j->told)
        return 0;
    j->told = true;
    j->outcome = outcome;
    timer_free(j->timer);
    j->timer = timer_after(j->loop, 0, on_turn, j);
    return 0;
}

/* The connection or our own use of it. */
static int broke(struct bus_job *j, int r)
{
    err_set_errno(&j->err, -r, "talking to systemd over D-Bus");
    return tell(j, r == -ENOENT || r == -ECONNREFUSED ? BUS_ABSENT : BUS_FAILED);
}

static void on_timeout(void *userdata)
{
    struct bus_job *j = userdata;

    err_set(&j->err, ERR_SYSTEM, "systemd did not end the %s of %s in time",
            actions[j->action].noun, j->unit);
    tell(j, BUS_FAILED);
}

/* Errors that systemd answers ------------------------------------------------------------------ */

static bool is_one_of(const char *name, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Who we are, as polkit calls it. */
static char *user_name(void)
{
    struct passwd entry, *found = NULL;
    char text[4096];

    if (getpwuid_r(geteuid(), &entry, text, sizeof(text), &found) != 0 || !found)
        return xasprintf("%u", (unsigned)geteuid());
    return xstrdup(entry.pw_name);
}

static int denied(struct bus_job *j, const char *text)
{
    const char *verb = actions[j->action].verb;
    auto_free char *user = user_name();

    err_set(&j->err, ERR_SYSTEM, "systemd does not let us %s %s: %s", verb, j->unit, text);
    err_hint(
        &j->err,
        "allow it in a file of /etc/polkit-1/rules.d: polkit.addRule(function(action, subject) "
        "{ if (action.id == \"org.freedesktop.systemd1.manage-units\" && "
        "action.lookup(\"unit\") == \"%s\" && action.lookup(\"verb\") == \"%s\" && "
        "subject.user == \"%s\") return polkit.Result.YES; });",
        j->unit, verb, user);
    return tell(j, BUS_DENIED);
}

static int refused(struct bus_job *j, const sd_bus_error *error)
{
    static const char *const no_rights[] = {
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        "org.freedesktop.DBus.Error.AuthFailed",
        NULL,
    };
    static const char *const no_manager[] = {
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.Disconnected",
        NULL,
    };
    static const char spawn[] = "org.freedesktop.DBus.Error.Spawn.";
    const char *name = error->name ? error->name : "";
    const char *text = error->message ? error->message : name;

    if (strcmp(name, MANAGER ".NoSuchUnit") == 0)
        return tell(j, BUS_UNKNOWN);
    if (is_one_of(name, no_rights))
        return denied(j, text);
    err_set(&j->err, ERR_SYSTEM, "systemd: %s: %s", j->unit, text);
    if (strcmp(name, MANAGER ".JobTypeNotApplicable") == 0)
        err_hint(&j->err, "%s has no ExecReload=: use action: try-restart", j->unit);
    /* A bus without systemd tries in vain to start it. */
    bool absent = is_one_of(name, no_manager) || strncmp(name, spawn, strlen(spawn)) == 0;
    return tell(j, absent ? BUS_ABSENT : BUS_FAILED);
}

/* The end of the job --------------------------------------------------------------------------- */

static int judge_end(struct bus_job *j, const char *result)
{
    if (strcmp(result, "done") == 0)
        return tell(j, BUS_DONE);
    if (strcmp(result, "skipped") == 0) /* it stopped since we looked */
        return tell(j, BUS_INACTIVE);
    err_set(&j->err, ERR_SYSTEM, "the %s of %s by systemd ended as \"%s\"", actions[j->action].noun,
            j->unit, result);
    err_hint(&j->err, "see: systemctl status %s", j->unit);
    return tell(j, BUS_FAILED);
}

static int look_at_ends(struct bus_job *j)
{
    size_t len = j->job ? strlen(j->job) : 0;

    for (size_t i = 0; j->job && i < j->ends.n; i++) {
        const char *end = j->ends.items[i];
        if (strncmp(end, j->job, len) == 0 && end[len] == ' ')
            return judge_end(j, end + len + 1);
    }
    return 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct bus_job *j = userdata;
    const char *job, *unit, *result;
    uint32_t id;

    (void)error;
    if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) < 0 ||
        strcmp(unit, j->unit) != 0 || j->ends.n >= ENDS_MAX)
        return 0;
    strv_addf(&j->ends, "%s %s", job, result);
    return look_at_ends(j);
}

static int on_asked(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct bus_job *j = userdata;
    const char *job;

    (void)error;
    if (j->told)
        return 0;
    if (sd_bus_message_is_method_error(m, NULL))
        return refused(j, sd_bus_message_get_error(m));
    int r = sd_bus_message_read(m, "o", &job);
    if (r < 0)
        return broke(j, r);
    set_string(&j->job, xstrdup(job));
    return look_at_ends(j);
}

static int ask_job(struct bus_job *j)
{
    int r =
        sd_bus_call_method_async(j->bus, NULL, MANAGER, PATH, INTERFACE, actions[j->action].method,
                                 on_asked, j, "ss", j->unit, "replace");

    return r < 0 ? broke(j, r) : 0;
}

/* The unit ------------------------------------------------------------------------------------- */

static int on_main_pid(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct bus_job *j = userdata;
    uint32_t pid = 0;

    (void)error; /* units that are no services have none: then nothing is known */
    if (j->told)
        return 0;
    if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "v", "u", &pid) >= 0 &&
        pid != 0 && (pid_t)pid != j->main_pid)
        return tell(j, BUS_OTHER);
    return ask_job(j);
}

static int ask_main_pid(struct bus_job *j)
{
    int r = sd_bus_call_method_async(j->bus, NULL, MANAGER, j->object, PROPERTIES, "Get",
                                     on_main_pid, j, "ss", MANAGER ".Service", "MainPID");

    return r < 0 ? broke(j, r) : 0;
}

static int on_active_state(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    static const char *const running[] = {"active", "reloading", "refreshing", "activating", NULL};
    struct bus_job *j = userdata;
    const char *state;

    (void)error;
    if (j->told)
        return 0;
    if (sd_bus_message_is_method_error(m, NULL))
        return refused(j, sd_bus_message_get_error(m));
    int r = sd_bus_message_read(m, "v", "s", &state);
    if (r < 0)
        return broke(j, r);
    if (!is_one_of(state, running))
        return tell(j, BUS_INACTIVE);
    return j->main_pid ? ask_main_pid(j) : ask_job(j);
}

static int on_load_state(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct bus_job *j = userdata;
    const char *state;

    (void)error;
    if (j->told)
        return 0;
    if (sd_bus_message_is_method_error(m, NULL))
        return refused(j, sd_bus_message_get_error(m));
    int r = sd_bus_message_read(m, "v", "s", &state);
    if (r >= 0 && (strcmp(state, "not-found") == 0 || strcmp(state, "masked") == 0))
        return tell(j, BUS_UNKNOWN);
    if (r >= 0)
        r = sd_bus_call_method_async(j->bus, NULL, MANAGER, j->object, PROPERTIES, "Get",
                                     on_active_state, j, "ss", MANAGER ".Unit", "ActiveState");
    return r < 0 ? broke(j, r) : 0;
}

/* LoadUnit answers for units that do not exist, too. */
static int on_loaded(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct bus_job *j = userdata;
    const char *object;

    (void)error;
    if (j->told)
        return 0;
    if (sd_bus_message_is_method_error(m, NULL))
        return refused(j, sd_bus_message_get_error(m));
    int r = sd_bus_message_read(m, "o", &object);
    if (r >= 0) {
        set_string(&j->object, xstrdup(object));
        r = sd_bus_call_method_async(j->bus, NULL, MANAGER, j->object, PROPERTIES, "Get",
                                     on_load_state, j, "ss", MANAGER ".Unit", "LoadState");
    }
    return r < 0 ? broke(j, r) : 0;
}

static int on_subscribed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)m, (void)userdata, (void)error; /* without it the job's end would time out: rare */
    return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)m, (void)error;
    return broke(userdata, -ECONNRESET);
}

static int connect_bus(struct bus_job *j)
{
    int r = sd_bus_open_system(&j->bus);

    if (r >= 0)
        r = sd_bus_attach_event(j->bus, loop_sd_event(j->loop), SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = sd_bus_match_signal_async(j->bus, NULL, MANAGER, PATH, INTERFACE, "JobRemoved",
                                      on_job_removed, on_subscribed, j);
    if (r >= 0)
        r = sd_bus_match_signal_async(j->bus, NULL, NULL, "/org/freedesktop/DBus/Local",
                                      "org.freedesktop.DBus.Local", "Disconnected", on_disconnected,
                                      on_subscribed, j);
    if (r >= 0)
        r = sd_bus_call_method_async(j->bus, NULL, MANAGER, PATH, INTERFACE, "Subscribe",
                                     on_subscribed, j, "");
    if (r >= 0)
        r = sd_bus_call_method_async(j->bus, NULL, MANAGER, PATH, INTERFACE, "LoadUnit", on_loaded,
                                     j, "s", j->unit);
    return r;
}

bool bus_is_likely(void)
{
    struct stat st;

    /* sd_booted(3) */
    return getenv("DBUS_SYSTEM_BUS_ADDRESS") ||
           (lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode));
}

struct bus_job *bus_job_start(struct loop *l, enum bus_action action, const char *unit,
                              pid_t main_pid, int64_t timeout_ms, bus_job_fn *fn, void *userdata)
{
    struct bus_job *j = xcalloc(1, sizeof(*j));

    *j = (struct bus_job){.loop = l,
                          .action = action,
                          .unit = xstrdup(unit),
                          .main_pid = main_pid,
                          .fn = fn,
                          .userdata = userdata};
    int r = connect_bus(j);
    if (r < 0)
        broke(j, r);
    else
        j->timer = timer_after(l, timeout_ms, on_timeout, j);
    return j;
}
