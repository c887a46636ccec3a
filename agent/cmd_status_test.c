#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd.h"
#include "agent/control.h"
#include "agent/manager_fake.h"

/* Takes the place of configuration and control socket
 * ------------------------------------------------ */

static char config_file[] = "/tmp/everleaf-status-XXXXXX";
static bool config_is_bad;
static struct config good_config = {.control = (char[]){"/run/good.sock"}};
static char *asked;      /* the socket that was asked */
static char *asked_name; /* the name in the request */
static const char *answer;
static int answer_errno;
static const char *refusal; /* of the agent itself */
static bool read_from_disk;
static int disk_errno; /* the state directory cannot be opened */
static struct manager manager;

char *config_path(const char *option)
{
    return xstrdup(option ? option : config_file);
}

struct config *config_load(const char *file, struct problems *problems)
{
    (void)file;
    (void)problems;
    return config_is_bad ? NULL : &good_config;
}

struct config *config_from_environment(struct problems *problems)
{
    (void)problems;
    return NULL;
}

void config_unref(struct config *c)
{
    (void)c;
}

json_t *control_call(const char *path, const json_t *request, control_activity_fn *activity,
                     void *userdata, struct err **err)
{
    (void)activity;
    (void)userdata;
    set_string(&asked, xstrdup(path));
    set_string(&asked_name, xstrdup(json_str(request, "name")));
    assert_string_equal(json_str(request, "method"), "status");
    if (refusal)
        err_set(err, ERR_CONFIG, "%s", refusal);
    else if (!answer)
        err_set_errno(err, answer_errno, "asking the agent at %s", path);
    return answer && !refusal ? json_parse(answer, strlen(answer), NULL) : NULL;
}

struct manager *manager_new(const struct manager_settings *settings, struct err **err)
{
    assert_true(settings->read_only);
    read_from_disk = true;
    if (disk_errno) {
        err_set_errno(err, disk_errno, "opening the state directory");
        return NULL;
    }
    fake_manager_init(&manager, 1);
    return &manager;
}

void manager_free(struct manager *m)
{
    if (m)
        fake_manager_done(m);
}

/* ----------------------------------------------------------------------------------------------------
 */

static char *output; /* standard output of the last run */

static void write_config(const char *text)
{
    FILE *f = fopen(config_file, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int reset(void **state)
{
    (void)state;
    config_is_bad = read_from_disk = false;
    answer = refusal = NULL;
    answer_errno = ENOENT;
    disk_errno = 0;
    return 0;
}

static int start(void **state)
{
    (void)state;
    int fd = mkstemp(config_file);
    return fd < 0 ? -1 : close(fd);
}

static int stop(void **state)
{
    (void)state;
    free(asked);
    free(asked_name);
    free(output);
    return unlink(config_file);
}

static int run(const char *name, bool json)
{
    char path[] = "/tmp/everleaf-output-XXXXXX";
    char *argv[] = {(char[]){"status"}, xstrdup(name), NULL};
    struct cmd_options options = {.config_file = config_file, .json = json};
    int file = mkstemp(path), saved = dup(STDOUT_FILENO);

    assert_true(file >= 0 && saved >= 0 && unlink(path) == 0);
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    int status = verb_status.run(name ? 2 : 1, argv, &options);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    off_t len = lseek(file, 0, SEEK_END);
    set_string(&output, xcalloc((size_t)len + 1, 1));
    assert_int_equal(pread(file, output, (size_t)len, 0), len);
    close(file);
    close(saved);
    free(argv[1]);
    return status;
}

static const char document[] =
    "{\"schema\": \"everleaf.status/1\", \"exit\": 1, \"agent\": {\"running\": true},"
    " \"certificates\": [{\"name\": \"www\", \"exit\": 1, \"state\": \"backoff\"}]}";

static void a_running_agent_is_asked_and_its_exit_is_ours(void **state)
{
    (void)state;
    answer = document;
    assert_int_equal(run(NULL, false), 1);
    assert_string_equal(asked, "/run/good.sock");
    assert_null(asked_name);
    assert_non_null(strstr(output, "www"));
    assert_false(read_from_disk);
    assert_int_equal(run("www", true), 1);
    assert_string_equal(asked_name, "www");
    auto_json json_t *j = json_parse(output, strlen(output), NULL);
    assert_string_equal(json_str(j, "schema"), "everleaf.status/1");
}

static void without_an_agent_the_disk_is_read(void **state)
{
    (void)state;
    static const int nobody[] = {ENOENT, ECONNREFUSED};

    for (size_t i = 0; i < ARRAY_LEN(nobody); i++) {
        answer_errno = nobody[i];
        read_from_disk = false;
        assert_int_equal(run(NULL, true), 3);
        assert_true(read_from_disk);
        auto_json json_t *j = json_parse(output, strlen(output), NULL);
        assert_true(json_is_false(json_get(json_get(j, "agent"), "running")));
    }
}

static void no_permission_and_silence_are_exit_4(void **state)
{
    (void)state;
    answer_errno = EACCES;
    assert_int_equal(run(NULL, true), 4);
    assert_false(read_from_disk);
    auto_json json_t *j = json_parse(output, strlen(output), NULL);
    assert_non_null(strstr(json_str(json_get(j, "error"), "hint"), "group"));
    answer_errno = ETIMEDOUT;
    assert_int_equal(run(NULL, true), 4);
    assert_false(read_from_disk);
}

static void an_unknown_name_is_wrong_usage(void **state)
{
    (void)state;
    refusal = "there is no certificate \"x\"";
    assert_int_equal(run("x", true), 2);
    refusal = NULL;
    assert_int_equal(run("c7", true), 2); /* of the disk */
    assert_int_equal(run("c0", true), 3);
}

static void before_the_first_renewal_everything_is_missing(void **state)
{
    (void)state;
    struct config_issuer issuer = {.name = (char[]){"ca"}};
    struct config_certificate www = {.name = (char[]){"www"}, .issuer = &issuer};
    struct config_certificate *certificates[] = {&www};

    good_config.certificates = certificates;
    good_config.n_certificates = 1;
    disk_errno = ENOENT;
    assert_int_equal(run("www", true), 3);
    auto_json json_t *j = json_parse(output, strlen(output), NULL);
    const json_t *c = json_array_get(json_get(j, "certificates"), 0);
    assert_string_equal(json_str(c, "state"), "missing");
    assert_true(json_is_null(json_get(c, "live")));
    assert_int_equal(json_array_size(json_get(c, "history")), 0);
    assert_int_equal(run("x", true), 2);
    good_config.certificates = NULL;
    good_config.n_certificates = 0;
    disk_errno = EACCES;
    assert_int_equal(run(NULL, true), 4);
}

static void an_agent_can_be_asked_although_the_file_is_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *control;
    } cases[] = {
        {"agent:\n  control: /tmp/a.sock # here\ncertificates: [\n", "/tmp/a.sock"},
        {"agent: {state_dir: /x, control: \"/tmp/b.sock\"}\nnonsense", "/tmp/b.sock"},
        {"# control: /tmp/no.sock\nagent:\n  control: '/tmp/c.sock'\n", "/tmp/c.sock"},
        {"not_control: /tmp/no.sock\n", "/run/everleaf/control.sock"},
        {"control: relative\n", "/run/everleaf/control.sock"},
        {"", "/run/everleaf/control.sock"},
    };

    unsetenv("RUNTIME_DIRECTORY");
    config_is_bad = true;
    answer = document;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_config(cases[i].text);
        assert_int_equal(run(NULL, true), 1);
        assert_string_equal(asked, cases[i].control);
    }
}

static void a_bad_file_without_an_agent_is_exit_2(void **state)
{
    (void)state;
    config_is_bad = true;
    assert_int_equal(run(NULL, true), 2);
    assert_false(read_from_disk);
    auto_json json_t *j = json_parse(output, strlen(output), NULL);
    assert_string_equal(json_str(json_get(j, "error"), "kind"), "config");
}

static void nobody_works_with_a_file_that_is_not_there(void **state)
{
    (void)state;
    config_is_bad = true;
    answer = document;
    assert_int_equal(unlink(config_file), 0);
    set_string(&asked, NULL);
    assert_int_equal(run(NULL, true), 2);
    assert_null(asked);
    write_config("");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_running_agent_is_asked_and_its_exit_is_ours, reset),
        cmocka_unit_test_setup(without_an_agent_the_disk_is_read, reset),
        cmocka_unit_test_setup(no_permission_and_silence_are_exit_4, reset),
        cmocka_unit_test_setup(an_unknown_name_is_wrong_usage, reset),
        cmocka_unit_test_setup(before_the_first_renewal_everything_is_missing, reset),
        cmocka_unit_test_setup(an_agent_can_be_asked_although_the_file_is_bad, reset),
        cmocka_unit_test_setup(a_bad_file_without_an_agent_is_exit_2, reset),
        cmocka_unit_test_setup(nobody_works_with_a_file_that_is_not_there, reset),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
