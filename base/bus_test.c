/* Against a bus of our own, on which a scripted systemd sits: the unit's name says what it does. */
#include "base/bus.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include <cmocka.h>

#include "base/log.h"

#define MANAGER "org.freedesktop.systemd1"
#define PATH    "/org/freedesktop/systemd1"

struct test_bus {
    pid_t daemon, manager;
    int requests; /* one byte for each job that the manager was asked for */
    struct loop *loop;
    unsigned calls;
    enum bus_outcome outcome;
    struct err *err;
};

/* The scripted systemd ------------------------------------------------------------------------- */

static int requests_fd;

static int send_removed(sd_bus *bus, const char *job, const char *unit, const char *result)
{
    return sd_bus_emit_signal(bus, PATH, MANAGER ".Manager", "JobRemoved", "uoss", 7, job, unit,
                              result);
}

static int answer_job(sd_bus_message *m)
{
    sd_bus *bus = sd_bus_message_get_bus(m);
    const char *unit, *mode, *job = PATH "/job/7";
    const char *verb = sd_bus_message_get_member(m);

    sd_bus_message_read(m, "ss", &unit, &mode);
    (void)!write(requests_fd, verb, 1);
    if (strcmp(unit, "denied.service") == 0)
        return sd_bus_reply_method_errorf(
            m, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            "Interactive authentication required.");
    if (strcmp(unit, "fixed.service") == 0)
        return sd_bus_reply_method_errorf(m, MANAGER ".JobTypeNotApplicable",
                                          "Job type reload is not applicable for unit %s.", unit);
    if (strcmp(unit, "leaves.service") == 0)
        _exit(0);
    send_removed(bus, PATH "/job/6", unit, "failed"); /* somebody else's */
    send_removed(bus, job, "other.service", "failed");
    if (strcmp(unit, "early.service") == 0)
        send_removed(bus, job, unit, "done");
    sd_bus_reply_method_return(m, "o", job);
    if (strcmp(unit, "broken.service") == 0)
        return send_removed(bus, job, unit, "failed");
    if (strcmp(unit, "stopped.service") == 0)
        return send_removed(bus, job, unit, "skipped");
    if (strcmp(unit, "silent.service") == 0)
        return 1;
    return send_removed(bus, job, unit, "done");
}

static int answer_property(sd_bus_message *m)
{
    const char *object = sd_bus_message_get_path(m), *interface, *name;

    sd_bus_message_read(m, "ss", &interface, &name);
    if (strcmp(name, "MainPID") == 0)
        return sd_bus_reply_method_return(m, "v", "u", 4711);
    if (strcmp(name, "LoadState") == 0)
        return sd_bus_reply_method_return(m, "v", "s",
                                          strstr(object, "absent") ? "not-found" : "loaded");
    if (strstr(object, "garbage"))
        return sd_bus_reply_method_return(m, "v", "u", 1);
    return sd_bus_reply_method_return(m, "v", "s", strstr(object, "down") ? "inactive" : "active");
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *member = sd_bus_message_get_member(m), *unit;

    (void)userdata, (void)error;
    if (!sd_bus_message_is_method_call(m, NULL, NULL))
        return 0;
    if (strcmp(member, "Get") == 0)
        return answer_property(m);
    if (strcmp(member, "LoadUnit") == 0) {
        sd_bus_message_read(m, "s", &unit);
        if (strcmp(unit, "nosuch.service") == 0)
            return sd_bus_reply_method_errorf(m, MANAGER ".NoSuchUnit", "Unit not found.");
        auto_free char *name = xstrndup(unit, strcspn(unit, "."));
        auto_free char *object = xasprintf(PATH "/unit/%s", name);
        return sd_bus_reply_method_return(m, "o", object);
    }
    if (strstr(member, "Unit"))
        return answer_job(m);
    return sd_bus_reply_method_return(m, "");
}

static void be_systemd(int ready)
{
    sd_bus *bus = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sd_bus_open_system(&bus) < 0 || sd_bus_add_filter(bus, NULL, on_message, NULL) < 0 ||
        sd_bus_request_name(bus, MANAGER, 0) < 0)
        _exit(1);
    (void)!write(ready, "r", 1);
    for (;;) {
        int r = sd_bus_process(bus, NULL);
        if (r < 0 || (r == 0 && sd_bus_wait(bus, UINT64_MAX) < 0))
            _exit(0);
    }
}

/* The bus -------------------------------------------------------------------------------------- */

static void start_daemon(struct test_bus *t)
{
    char address[256] = "", *end;
    int out[2];

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    t->daemon = fork();
    if (t->daemon == 0) {
        char fd[64];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(fd, sizeof(fd), "--print-address=%d", dup(out[1]));
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO); /* it complains of limits */
        execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", fd, NULL);
        _exit(127);
    }
    close(out[1]);
    for (size_t len = 0; len < sizeof(address) - 1 && !strchr(address, '\n');) {
        ssize_t n = read(out[0], address + len, sizeof(address) - 1 - len);
        if (n <= 0)
            fail_msg("no dbus-daemon");
        len += (size_t)n;
    }
    close(out[0]);
    end = strchr(address, '\n');
    *end = '\0';
    setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
}

static void start_manager(struct test_bus *t)
{
    int ready[2], requests[2];
    char c;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(requests, O_CLOEXEC | O_NONBLOCK), 0);
    t->manager = fork();
    if (t->manager == 0) {
        requests_fd = requests[1];
        be_systemd(ready[1]);
    }
    close(ready[1]);
    close(requests[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    t->requests = requests[0];
}

static int setup(void **state)
{
    struct test_bus *t = xcalloc(1, sizeof(*t));

    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    start_daemon(t);
    start_manager(t);
    t->loop = loop_new(NULL);
    assert_non_null(t->loop);
    *state = t;
    return 0;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static int teardown(void **state)
{
    struct test_bus *t = *state;

    end(t->manager);
    if (t->daemon)
        end(t->daemon);
    close(t->requests);
    loop_free(t->loop);
    err_free(t->err);
    free(t);
    return 0;
}

static void on_job(enum bus_outcome outcome, const struct err *e, void *userdata)
{
    struct test_bus *t = userdata;

    t->calls++;
    t->outcome = outcome;
    err_free(t->err);
    t->err = err_copy(e);
    loop_exit(t->loop, 0);
}

static enum bus_outcome run(struct test_bus *t, enum bus_action action, const char *unit, pid_t pid,
                            int64_t timeout_ms)
{
    unsigned before = t->calls;

    assert_non_null(bus_job_start(t->loop, action, unit, pid, timeout_ms, on_job, t));
    assert_int_equal(t->calls, before);
    loop_run(t->loop);
    assert_int_equal(t->calls, before + 1);
    return t->outcome;
}

static enum bus_outcome reload(struct test_bus *t, const char *unit)
{
    return run(t, BUS_RELOAD, unit, 0, 20000);
}

static size_t requested(const struct test_bus *t, char *first)
{
    char text[64];
    ssize_t n = read(t->requests, text, sizeof(text));

    *first = n > 0 ? text[0] : '\0';
    return n > 0 ? (size_t)n : 0;
}

static void says(const struct err *e, const char *text)
{
    assert_non_null(e);
    if (!strstr(e->text, text) && !(e->hint && strstr(e->hint, text)))
        fail_msg("\"%s\" (%s) does not say \"%s\"", e->text, e->hint ? e->hint : "-", text);
}

/* Tests ---------------------------------------------------------------------------------------- */

static void waits_for_the_end_of_its_own_job(void **state)
{
    struct test_bus *t = *state;
    char verb;

    assert_true(bus_is_likely());
    assert_int_equal(reload(t, "good.service"), BUS_DONE);
    assert_null(t->err);
    assert_int_equal(reload(t, "early.service"), BUS_DONE);
    assert_int_equal(requested(t, &verb), 2);
    assert_int_equal(verb, 'R');
    assert_int_equal(run(t, BUS_TRY_RESTART, "good.service", 0, 20000), BUS_DONE);
    assert_int_equal(requested(t, &verb), 1);
    assert_int_equal(verb, 'T');
}

static void a_job_that_failed_is_told_with_its_result(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(reload(t, "broken.service"), BUS_FAILED);
    says(t->err, "reload of broken.service");
    says(t->err, "failed");
    says(t->err, "systemctl status");
}

static void units_that_do_not_run_are_left_alone(void **state)
{
    struct test_bus *t = *state;
    char verb;

    assert_int_equal(reload(t, "down.service"), BUS_INACTIVE);
    assert_int_equal(run(t, BUS_RELOAD_OR_RESTART, "down.service", 0, 20000), BUS_INACTIVE);
    assert_int_equal(reload(t, "absent.service"), BUS_UNKNOWN);
    assert_int_equal(reload(t, "nosuch.service"), BUS_UNKNOWN);
    assert_int_equal(requested(t, &verb), 0);
    assert_int_equal(reload(t, "stopped.service"), BUS_INACTIVE);
    assert_null(t->err);
}

static void a_unit_of_another_process_is_left_alone(void **state)
{
    struct test_bus *t = *state;
    char verb;

    assert_int_equal(run(t, BUS_RELOAD, "good.service", 4712, 20000), BUS_OTHER);
    assert_int_equal(requested(t, &verb), 0);
    assert_int_equal(run(t, BUS_RELOAD, "good.service", 4711, 20000), BUS_DONE);
}

static void what_polkit_forbids_is_told_with_the_rule(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(reload(t, "denied.service"), BUS_DENIED);
    says(t->err, "does not let us reload denied.service");
    says(t->err, "action.lookup(\"unit\") == \"denied.service\"");
    says(t->err, "action.lookup(\"verb\") == \"reload\"");
    says(t->err, "subject.user == \"");
}

static void a_unit_without_reload_is_told_with_another_way(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(reload(t, "fixed.service"), BUS_FAILED);
    says(t->err, "not applicable");
    says(t->err, "try-restart");
}

static void a_silent_systemd_times_out(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(run(t, BUS_RELOAD, "silent.service", 0, 100), BUS_FAILED);
    says(t->err, "did not end the reload of silent.service in time");
}

static void answers_of_the_wrong_type_are_errors(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(reload(t, "garbage.service"), BUS_FAILED);
    says(t->err, "D-Bus");
}

static void a_systemd_that_leaves_is_an_error(void **state)
{
    struct test_bus *t = *state;

    assert_int_equal(reload(t, "leaves.service"), BUS_FAILED);
    assert_int_equal(reload(t, "good.service"), BUS_ABSENT);
    says(t->err, "good.service");
}

static void a_bus_that_ends_is_an_error(void **state)
{
    struct test_bus *t = *state;
    struct bus_job *j = bus_job_start(t->loop, BUS_RELOAD, "good.service", 0, 20000, on_job, t);

    assert_non_null(j);
    end(t->daemon);
    t->daemon = 0;
    loop_run(t->loop);
    assert_int_equal(t->outcome, BUS_FAILED);
    assert_int_equal(reload(t, "good.service"), BUS_ABSENT);
    says(t->err, "D-Bus");
}

static void a_freed_job_is_not_heard_of(void **state)
{
    struct test_bus *t = *state;
    struct bus_job *j = bus_job_start(t->loop, BUS_RELOAD, "silent.service", 0, 20000, on_job, t);

    assert_int_equal(reload(t, "good.service"), BUS_DONE);
    bus_job_free(j);
    assert_int_equal(reload(t, "good.service"), BUS_DONE);
    assert_int_equal(t->calls, 2);
    bus_job_free(NULL);
}

#define BUS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BUS_TEST(waits_for_the_end_of_its_own_job),
        BUS_TEST(a_job_that_failed_is_told_with_its_result),
        BUS_TEST(units_that_do_not_run_are_left_alone),
        BUS_TEST(a_unit_of_another_process_is_left_alone),
        BUS_TEST(what_polkit_forbids_is_told_with_the_rule),
        BUS_TEST(a_unit_without_reload_is_told_with_another_way),
        BUS_TEST(a_silent_systemd_times_out),
        BUS_TEST(answers_of_the_wrong_type_are_errors),
        BUS_TEST(a_systemd_that_leaves_is_an_error),
        BUS_TEST(a_bus_that_ends_is_an_error),
        BUS_TEST(a_freed_job_is_not_heard_of),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
