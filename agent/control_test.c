/* Both ends of the control socket: the agent's in this process with a manager that is a fake, the
 * client's in a child. */
#include "agent/control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/manager_fake.h"
#include "agent/ticket.h"
#include "base/file.h"

struct fixture {
    char folder[32];
    char *path;
    struct loop *loop;
    struct manager manager;
    struct control *control;
    unsigned reloads;
    bool refuse_reload;
};

/* What the fake manager does with requests: a ticket each, told on the next turn. */
static struct {
    struct ticket_list tickets;
    struct ticket_options options;
    struct timer *turn;
    struct loop *loop;
    struct control *control; /* gets an activity first, when set */
    bool busy;
} asked;

static void tell(void *userdata)
{
    auto_json json_t *j = json_object();

    (void)userdata;
    timer_free(asked.turn);
    asked.turn = NULL;
    if (asked.control)
        control_activity(asked.control, "c0", "waiting for the CA");
    json_put_str(j, "name", "c0");
    json_put_str(j, "result", "renewed");
    tickets_tell(&asked.tickets, TICKETS_ALL, j, 0);
}

struct ticket *managed_request(struct managed *m, const struct ticket_options *options,
                               ticket_fn *fn, void *userdata)
{
    (void)m;
    asked.options = *options;
    if (!asked.turn && !asked.busy)
        asked.turn = timer_after(asked.loop, 0, tell, NULL);
    return tickets_add(&asked.tickets, options, fn, userdata);
}

bool managed_is_busy(const struct managed *m)
{
    (void)m;
    return asked.busy;
}

static void on_reload(void *userdata)
{
    struct fixture *f = userdata;

    f->reloads++;
    if (f->refuse_reload)
        err_set(&f->manager.reload_error, ERR_CONFIG, "line 3 is wrong");
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    strcpy(f->folder, "/tmp/control-test-XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    f->path = xasprintf("%s/run/control.sock", f->folder);
    f->loop = loop_new(NULL);
    fake_manager_init(&f->manager, 2);
    f->manager.services.loop = f->loop;
    memset(&asked, 0, sizeof asked);
    asked.loop = f->loop;
    struct control_settings settings = {
        .manager = &f->manager, .path = f->path, .reload = on_reload, .userdata = f};
    auto_err struct err *e = NULL;
    f->control = control_new(&settings, &e);
    if (!f->control)
        fail_msg("%s", e->text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    control_free(f->control);
    tickets_done(&asked.tickets);
    timer_free(asked.turn);
    assert_int_equal(access(f->path, F_OK), -1); /* it takes its socket away */
    fake_manager_done(&f->manager);
    loop_free(f->loop);
    bool removed = file_remove(AT_FDCWD, f->folder, NULL);
    free(f->path);
    free(f);
    return removed ? 0 : -1;
}

/* Children ------------------------------------------------------------------------------------- */

struct child {
    struct loop *loop;
    struct io *io;
    int fd;
    pid_t pid;
    struct buf text;
};

static void on_text(struct io *io, uint32_t events, void *userdata)
{
    struct child *c = userdata;
    char text[4096];
    ssize_t n = read(c->fd, text, sizeof text);

    (void)io;
    (void)events;
    if (n > 0)
        buf_add(&c->text, text, (size_t)n);
    else
        loop_exit(c->loop, 0);
}

static void on_activity(const char *certificate, const char *text, void *userdata)
{
    dprintf(*(int *)userdata, "[%s: %s]", certificate, text);
}

static void be_client(const char *path, const char *request, int out)
{
    auto_err struct err *e = NULL;
    json_t *j = json_parse(request, strlen(request), NULL);
    json_t *result = control_call(path, j, on_activity, &out, &e);

    if (result && json_is_null(result))
        dprintf(out, "null");
    else if (result)
        dprintf(out, "%s", json_compact(result));
    else
        dprintf(out, "error %s %d %s", err_kind_name(e->kind), e->code, e->text);
    _exit(0);
}

/* What a client in a process of its own gets to hear; caller frees. */
static char *ask(struct fixture *f, const char *request)
{
    int fds[2];
    struct child c = {.loop = f->loop};

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0)
        be_client(f->path, request, fds[1]);
    close(fds[1]);
    c.fd = fds[0];
    buf_init(&c.text, 1024 * 1024);
    c.io = io_new(f->loop, c.fd, EPOLLIN, on_text, &c, NULL);
    assert_int_equal(loop_run(f->loop), 0);
    io_free(c.io);
    close(c.fd);
    assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
    char *text = xstrdup(c.text.data);
    buf_done(&c.text);
    return text;
}

static void hears(struct fixture *f, const char *request, const char *expected)
{
    auto_free char *text = ask(f, request);

    if (!strstr(text, expected))
        fail_msg("%s: %s, without %s", request, text, expected);
}

/* Tests ---------------------------------------------------------------------------------------- */

static void the_socket_is_for_the_owner_and_the_group(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
}

static void answers_with_the_status_document(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"status\"}", "\"schema\":\"everleaf.status/1\"");
    hears(f, "{\"method\":\"status\"}", "\"running\":true");
    hears(f, "{\"method\":\"status\",\"name\":\"c1\"}", "\"name\":\"c1\"");
    hears(f, "{\"method\":\"status\",\"name\":\"nobody\"}", "error config 0");
}

static void a_renewal_tells_its_activity_and_then_its_result(void **state)
{
    struct fixture *f = *state;

    asked.control = f->control;
    auto_free char *text =
        ask(f, "{\"method\":\"renew\",\"names\":[\"c0\"],\"force\":true,\"due_only\":false}");
    assert_non_null(strstr(text, "[c0: waiting for the CA]"));
    assert_non_null(strstr(text, "\"by\":\"agent\""));
    assert_non_null(strstr(text, "\"result\":\"renewed\""));
    assert_non_null(strstr(text, "\"exit\":0"));
    assert_true(asked.options.force);
    assert_false(asked.options.due_only);
}

static void activity_of_others_is_not_told(void **state)
{
    struct fixture *f = *state;

    asked.control = f->control;
    auto_free char *text = ask(f, "{\"method\":\"renew\",\"names\":[\"c1\"]}");
    assert_null(strstr(text, "waiting for the CA"));
    assert_non_null(strstr(text, "\"result\""));
}

static void without_names_all_are_meant(void **state)
{
    struct fixture *f = *state;
    auto_free char *text = ask(f, "{\"method\":\"renew\",\"names\":[],\"due_only\":true}");
    auto_json json_t *j = json_parse(text, strlen(text), NULL);

    assert_int_equal(json_array_size(json_get(j, "results")), 2);
    assert_true(asked.options.due_only);
}

static void names_that_are_no_list_of_strings_do_not_mean_all(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"renew\",\"names\":\"c0\",\"force\":true}", "error refused");
    hears(f, "{\"method\":\"renew\",\"names\":[1],\"force\":true}", "error refused");
    assert_null(asked.tickets.first);
}

static void an_unknown_certificate_is_wrong_usage(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"renew\",\"names\":[\"c0\",\"c9\"]}", "error config 0");
    assert_null(asked.tickets.first);
}

static void without_waiting_it_is_accepted_or_under_way(void **state)
{
    struct fixture *f = *state;

    asked.busy = true;
    hears(f, "{\"method\":\"renew\",\"names\":[\"c0\"],\"wait\":false}", "in-progress");
    assert_null(asked.tickets.first); /* nobody waits any more */
}

static void what_changes_one_certificate_is_asked_for_by_name(void **state)
{
    struct fixture *f = *state;
    auto_free char *deploy = ask(f, "{\"method\":\"deploy\",\"names\":[\"c0\"]}");

    assert_non_null(strstr(deploy, "\"result\":\"renewed\""));
    assert_int_equal(asked.options.action, TICKET_DEPLOY);
    auto_free char *back = ask(f, "{\"method\":\"rollback\",\"names\":[\"c0\"],\"generation\":7}");
    assert_non_null(strstr(back, "\"by\":\"agent\""));
    assert_int_equal(asked.options.action, TICKET_ROLLBACK);
    assert_int_equal(asked.options.generation, 7);
    auto_free char *revoke =
        ask(f, "{\"method\":\"revoke\",\"names\":[\"c0\"],\"reason\":\"superseded\"}");
    assert_non_null(strstr(revoke, "\"result\":\"renewed\""));
    assert_int_equal(asked.options.action, TICKET_REVOKE);
    assert_int_equal(asked.options.reason, REVOKE_SUPERSEDED);
    assert_false(asked.options.now);
    auto_free char *lost =
        ask(f, "{\"method\":\"revoke\",\"names\":[\"c0\"],\"reason\":\"keyCompromise\"}");
    assert_non_null(strstr(lost, "\"result\":\"renewed\""));
    assert_true(asked.options.now);
    asked.options.action = TICKET_RENEW;
    hears(f, "{\"method\":\"deploy\"}", "error refused");
    hears(f, "{\"method\":\"revoke\",\"names\":[\"c0\"],\"reason\":\"boredom\"}", "error refused");
    hears(f, "{\"method\":\"rollback\",\"names\":[]}", "error refused");
    hears(f, "{\"method\":\"rollback\",\"names\":[\"c9\"]}", "error config 0");
    assert_int_equal(asked.options.action, TICKET_RENEW);
}

static void an_account_is_asked_for_by_verb_and_issuer(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"account\",\"verb\":\"show\"}", "error system");
    hears(f, "{\"method\":\"account\",\"verb\":\"show\",\"issuer\":\"ca\"}", "error system");
    hears(f, "{\"method\":\"account\",\"verb\":\"show\",\"issuer\":\"other\"}", "error config 0");
    hears(f, "{\"method\":\"account\",\"verb\":\"explode\"}", "error refused");
    hears(f, "{\"method\":\"account\"}", "error refused");
}

static void reloads_and_reports_what_was_wrong(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"reload\"}", "null");
    f->refuse_reload = true;
    hears(f, "{\"method\":\"reload\"}", "error config 0 line 3 is wrong");
    assert_int_equal(f->reloads, 2);
}

static void an_unknown_method_is_refused(void **state)
{
    struct fixture *f = *state;

    hears(f, "{\"method\":\"explode\"}", "unknown method");
    hears(f, "{}", "unknown method");
    hears(f, "[]", "unknown method");
}

/* A client that speaks by itself. What was heard until the agent hung up or all was read. */
static void speak(struct fixture *f, const char *text, size_t len, bool expect_end)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char answer[4096];
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
            _exit(2);
        for (size_t sent = 0; sent < len;) {
            ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        dprintf(fds[1], "%s", n > 0 ? "answer" : "end");
        _exit(0);
    }
    close(fds[1]);
    struct child c = {.loop = f->loop, .fd = fds[0], .pid = pid};
    buf_init(&c.text, 4096);
    c.io = io_new(f->loop, c.fd, EPOLLIN, on_text, &c, NULL);
    assert_int_equal(loop_run(f->loop), 0);
    io_free(c.io);
    close(c.fd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_string_equal(c.text.data, expect_end ? "end" : "answer");
    buf_done(&c.text);
}

static void hostile_clients_are_answered_or_cut_off(void **state)
{
    static const char junk[] = "\0\xff{]\n", deep[] = "[[[[[[[[\n";
    struct fixture *f = *state;
    size_t len = 100 * 1024;
    auto_free char *endless = xmalloc(len);

    memset(endless, 'a', len);
    speak(f, junk, sizeof junk - 1, false);
    speak(f, deep, sizeof deep - 1, false);
    speak(f, "\n", 1, false);
    speak(f, endless, len, true);
    hears(f, "{\"method\":\"status\"}", "everleaf.status/1"); /* and it still works */
}

static void several_requests_of_one_client_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    static const char two[] = "{\"method\":\"reload\"}\n{\"method\":\"reload\"}\n";

    speak(f, two, sizeof two - 1, false);
    assert_int_equal(f->reloads, 2);
}

static void a_client_that_goes_away_takes_its_wish_with_it(void **state)
{
    struct fixture *f = *state;
    int fds[2];

    asked.busy = true; /* never told */
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static const char text[] = "{\"method\":\"renew\",\"names\":[\"c0\"]}\n";
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
            (void)!write(fd, text, sizeof text - 1);
        _exit(0);
    }
    close(fds[1]);
    struct child c = {.loop = f->loop, .fd = fds[0], .pid = pid};
    buf_init(&c.text, 64);
    c.io = io_new(f->loop, c.fd, EPOLLIN, on_text, &c, NULL);
    assert_int_equal(loop_run(f->loop), 0);
    io_free(c.io);
    close(c.fd);
    buf_done(&c.text);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    hears(f, "{\"method\":\"status\"}", "everleaf.status/1"); /* the loop has seen the end by now */
    assert_null(asked.tickets.first);
}

static void a_second_agent_is_kept_out_and_a_dead_one_s_socket_is_taken(void **state)
{
    struct fixture *f = *state;
    struct control_settings settings = {
        .manager = &f->manager, .path = f->path, .reload = on_reload, .userdata = f};
    struct err *e = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_null(control_new(&settings, &e));
    assert_int_equal(e->code, EADDRINUSE);
    err_free(e);

    control_free(f->control);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* as a kill -9 leaves it */
    e = NULL;
    f->control = control_new(&settings, &e);
    assert_non_null(f->control);
    hears(f, "{\"method\":\"status\"}", "everleaf.status/1");
}

static void what_is_no_socket_is_left_alone(void **state)
{
    struct fixture *f = *state;
    auto_free char *path = xasprintf("%s/file", f->folder);
    struct control_settings settings = {.manager = &f->manager, .path = path};
    auto_err struct err *e = NULL;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_null(control_new(&settings, &e));
    assert_int_equal(e->kind, ERR_CONFIG);
    assert_int_equal(access(path, F_OK), 0);
}

static void a_path_too_long_for_an_address_works(void **state)
{
    struct fixture *f = *state;
    char deep[] = "/a-folder-with-a-rather-long-name-so-that-the-path-does-not-fit-anywhere-at-all-"
                  "whatever-one-tries";
    auto_free char *folder = xasprintf("%s%s", f->folder, deep);
    auto_free char *path = xasprintf("%s/control.sock", folder);
    struct control_settings settings = {
        .manager = &f->manager, .path = path, .reload = on_reload, .userdata = f};
    auto_err struct err *e = NULL;

    control_free(f->control);
    f->control = control_new(&settings, &e);
    if (!f->control)
        fail_msg("%s", e->text);
    set_string(&f->path, xstrdup(path));
    hears(f, "{\"method\":\"status\"}", "everleaf.status/1");
}

static void without_an_agent_the_code_says_so(void **state)
{
    struct fixture *f = *state;
    auto_json json_t *j = json_object();
    auto_free char *nowhere = xasprintf("%s/nowhere/control.sock", f->folder);
    struct err *e = NULL;

    assert_null(control_call(nowhere, j, NULL, NULL, &e));
    assert_int_equal(e->code, ENOENT);
    err_free(e);
    control_free(f->control);
    f->control = NULL;
    e = NULL;
    assert_null(control_call(f->path, j, NULL, NULL, &e));
    assert_int_equal(e->code, ENOENT);
    err_free(e);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_socket_is_for_the_owner_and_the_group),
        test(answers_with_the_status_document),
        test(a_renewal_tells_its_activity_and_then_its_result),
        test(what_changes_one_certificate_is_asked_for_by_name),
        test(an_account_is_asked_for_by_verb_and_issuer),
        test(activity_of_others_is_not_told),
        test(without_names_all_are_meant),
        test(names_that_are_no_list_of_strings_do_not_mean_all),
        test(an_unknown_certificate_is_wrong_usage),
        test(without_waiting_it_is_accepted_or_under_way),
        test(reloads_and_reports_what_was_wrong),
        test(an_unknown_method_is_refused),
        test(hostile_clients_are_answered_or_cut_off),
        test(several_requests_of_one_client_are_answered_in_order),
        test(a_client_that_goes_away_takes_its_wish_with_it),
        test(a_second_agent_is_kept_out_and_a_dead_one_s_socket_is_taken),
        test(what_is_no_socket_is_left_alone),
        test(a_path_too_long_for_an_address_works),
        test(without_an_agent_the_code_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
