#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log_line.h"

/* What was logged is read here; each test's program is a child, for log_init() works once. */
static char dir_path[] = "/tmp/everleaf-log-XXXXXX";
static char out_path[64], journal_path[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir_path + sizeof(dir_path) - 7, "XXXXXX");
    if (!mkdtemp(dir_path))
        return -1;
    snprintf(out_path, sizeof(out_path), "%s/out", dir_path);
    snprintf(journal_path, sizeof(journal_path), "%s/journal", dir_path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(out_path);
    unlink(journal_path);
    return rmdir(dir_path);
}

typedef int program_fn(void);

/* Runs with `err` (or -1: closed) as stderr; its result. A program that hangs is killed by SIGALRM.
 */
static int run(program_fn *program, int err)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(30);
        unsetenv("JOURNAL_STREAM");
        if (err >= 0)
            dup2(err, STDERR_FILENO);
        else
            close(STDERR_FILENO);
        _exit(program());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static int open_out(void)
{
    return open(out_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static char *read_out(void)
{
    auto_close int fd = open(out_path, O_RDONLY | O_CLOEXEC);
    char text[65536];
    ssize_t n = read(fd, text, sizeof(text));

    assert_true(n >= 0);
    return xstrndup(text, (size_t)n);
}

static int log_three(enum log_format format)
{
    auto_err struct err *err = NULL;

    log_init(format, LOG_LEVEL_INFO);
    log_debug("not shown");
    log_info("certificate renewed", "certificate", "www", "serial", NULL, "note", "two words");
    err_set(&err, ERR_LIMITED, "too many \x1b[31m");
    err_step(&err, "new-order");
    err_hint(&err, "wait");
    err->problem = xstrdup("rateLimited");
    errno = EXDEV;
    log_failure(LOG_LEVEL_ERROR, err, "not renewed", "certificate", "www\n\xe2\x80\xae");
    return errno == EXDEV ? (int)log_dropped() : 99;
}

static int log_three_as_text(void)
{
    return log_three(LOG_FORMAT_TEXT);
}

static int log_three_as_json(void)
{
    return log_three(LOG_FORMAT_JSON);
}

static int log_three_as_seems_best(void)
{
    return log_three(LOG_FORMAT_AUTO);
}

/* Lines ---------------------------------------------------------------------------------------- */

static void text_is_for_people(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(run(log_three_as_text, out), 0);
    auto_free char *text = read_out();
    char *second = strchr(text, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_string_equal(text + strlen("2026-11-24T10:00:00Z"),
                        " info    certificate renewed certificate=www note=\"two words\"");
    assert_string_equal(second + strlen("2026-11-24T10:00:00Z"),
                        " error   not renewed: too many \\x1b[31m certificate=www\\x0a\\u202e "
                        "kind=limited step=new-order problem=rateLimited hint=wait\n");
}

static void json_lines_carry_the_fields(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(run(log_three_as_json, out), 0);
    auto_free char *text = read_out();
    char *second = strchr(text, '\n') + 1, *end = strchr(second, '\n') + 1;
    assert_int_equal(*end, '\0');

    auto_json json_t *one = json_parse(text, (size_t)(second - text), NULL);
    auto_json json_t *two = json_parse(second, (size_t)(end - second), NULL);
    assert_memory_equal(text, "{\"time\":\"", 9);
    time_t t;
    assert_true(json_opt_time(one, "time", &t, NULL));
    assert_in_range(t, clock_now() - 60, clock_now());
    assert_int_equal(strlen(json_str(one, "time")), strlen("2026-11-24T10:00:00.123Z"));
    assert_string_equal(json_str(one, "level"), "info");
    assert_string_equal(json_str(one, "event"), "certificate renewed");
    assert_string_equal(json_str(one, "certificate"), "www");
    assert_string_equal(json_str(one, "note"), "two words");
    assert_null(json_get(one, "serial"));
    assert_int_equal(json_object_size(one), 5);

    assert_string_equal(json_str(two, "level"), "error");
    assert_string_equal(json_str(two, "error"), "too many \\x1b[31m");
    assert_string_equal(json_str(two, "kind"), "limited");
    assert_string_equal(json_str(two, "step"), "new-order");
    assert_string_equal(json_str(two, "problem"), "rateLimited");
    assert_string_equal(json_str(two, "hint"), "wait");
    assert_string_equal(json_str(two, "certificate"), "www\\x0a\\u202e");
}

static void automatic_is_json_into_a_file(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(run(log_three_as_seems_best, out), 0);
    auto_free char *text = read_out();
    assert_memory_equal(text, "{\"time\":\"", 9);
}

static void automatic_is_text_on_a_terminal(void **state)
{
    auto_close int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64], text[4096] = "";

    (void)state;
    assert_true(grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
    auto_close int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(run(log_three_as_seems_best, terminal), 0);
    assert_true(read(master, text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, " info    certificate renewed certificate=www"));
    assert_null(strchr(text, 0x1b)); /* color only when asked for */
}

static void color_is_around_the_level_only(void **state)
{
    auto_log_line struct log_line l = {0};
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    log_line_init(&l, LOG_LEVEL_WARNING, "f.c", 1, "event");
    l.at_us = 1795514400999999;
    log_line_text(&l, true, &b);
    assert_string_equal(b.data, "2026-11-24T10:00:00Z \x1b[33mwarning\x1b[0m event\n");
}

static void milliseconds_are_cut_not_rounded(void **state)
{
    auto_log_line struct log_line l = {0};
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    log_line_init(&l, LOG_LEVEL_INFO, "f.c", 1, "x");
    l.at_us = 1795514400007999;
    log_line_json(&l, &b);
    assert_string_equal(b.data, "{\"time\":\"2026-11-24T10:00:00.007Z\",\"level\":\"info\","
                                "\"event\":\"x\"}\n");
}

static void what_is_said_twice_counts_once(void **state)
{
    auto_log_line struct log_line l = {0};
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    log_line_init(&l, LOG_LEVEL_INFO, "f.c", 1, "x");
    l.at_us = 1795514400000000;
    log_line_add(&l, "step", "first");
    log_line_add(&l, "step", "second");
    log_line_add(&l, "event", "mine");
    log_line_json(&l, &b);
    assert_string_equal(b.data, "{\"time\":\"2026-11-24T10:00:00.000Z\",\"level\":\"info\","
                                "\"event\":\"x\",\"step\":\"first\"}\n");
}

static void values_and_fields_have_a_limit(void **state)
{
    auto_log_line struct log_line l = {0};
    auto_buf struct buf b;
    char value[20000], names[40][4];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    buf_init(&b, SIZE_MAX);
    log_line_init(&l, LOG_LEVEL_INFO, "f.c", 1, value);
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "f%d", i);
        log_line_add(&l, names[i], value);
    }
    log_line_text(&l, false, &b);
    assert_in_range(b.len, 25 * 4096, 25 * 4120 + 100);
}

static void text_quotes_what_would_be_ambiguous(void **state)
{
    auto_log_line struct log_line l = {0};
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    log_line_init(&l, LOG_LEVEL_DEBUG, "f.c", 1, "x");
    log_line_add(&l, "a", "");
    log_line_add(&l, "b", "k=v");
    log_line_add(&l, "c", "say \"no\"");
    log_line_text(&l, false, &b);
    assert_non_null(strstr(b.data, " debug   x a=\"\" b=\"k=v\" c=\"say \\\"no\\\"\"\n"));
}

/* Hostile targets ------------------------------------------------------------------------------ */

/* More than any pipe or socket takes; 0: some lines were dropped and that was counted. */
static int log_a_lot(void)
{
    log_init(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    for (int i = 0; i < 20000; i++)
        log_info("a line that is long enough to fill a pipe after some time", "note", "0123456789");
    return log_dropped() > 0 && log_dropped() < 20000 ? 0 : 1;
}

static int log_into_the_void(void)
{
    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("one");
    log_info("two");
    return (int)log_dropped();
}

static void a_full_pipe_does_not_block(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(run(log_a_lot, ends[1]), 0);
    /* Others who write to it still wait as they are used to. */
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

static void a_full_socket_does_not_block(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(run(log_a_lot, ends[1]), 0);
    close(ends[0]);
    close(ends[1]);
}

static void a_reader_that_went_away_is_survived(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    assert_int_equal(run(log_into_the_void, ends[1]), 2);
    close(ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    close(ends[0]);
    assert_int_equal(run(log_into_the_void, ends[1]), 2);
    close(ends[1]);
}

static void a_full_disk_is_survived(void **state)
{
    auto_close int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    assert_int_equal(run(log_into_the_void, full), 2);
}

/* A pipe with room for half of a line that is longer than PIPE_BUF, then with room again. */
static int log_a_torn_line(void)
{
    char note[4000];
    int size = fcntl(STDERR_FILENO, F_GETPIPE_SZ), filled = 0;

    memset(note, 'n', sizeof(note) - 1);
    note[sizeof(note) - 1] = '\0';
    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    while (size - filled > 8192)
        filled += (int)write(STDERR_FILENO, note, 4000) + 96; /* a page each */
    log_info("torn", "a", note, "b", note, "c", note);
    if (log_dropped() != 1)
        return 1;
    auto_close int reader = open("/proc/self/fd/2", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char sink[4096];
    while (read(reader, sink, sizeof(sink)) > 0)
        continue;
    log_info("whole");
    return log_dropped() == 1 ? 0 : 2;
}

static void the_line_after_a_torn_one_starts_anew(void **state)
{
    char text[256] = "";
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(run(log_a_torn_line, ends[1]), 0);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    assert_int_equal(text[0], '\n');
    assert_non_null(strstr(text, " info    whole\n"));
    close(ends[0]);
    close(ends[1]);
}

/* A state file must never get the number that log lines go to. */
static int log_without_descriptors(void)
{
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    log_init(LOG_FORMAT_AUTO, LOG_LEVEL_INFO);
    int fd = open(out_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    log_info("into the file?");
    log_init(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    log_info("into the file?");
    return fd > STDERR_FILENO && lseek(fd, 0, SEEK_END) == 0 ? 0 : 1;
}

static void closed_descriptors_never_become_files_of_ours(void **state)
{
    (void)state;
    assert_int_equal(run(log_without_descriptors, -1), 0);
}

static void a_file_is_continued_not_overwritten(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(write(out, "before\n", 7), 7);
    assert_int_equal(run(log_three_as_text, out), 0);
    assert_int_equal(write(out, "after\n", 6), 6);
    auto_free char *text = read_out();
    assert_memory_equal(text, "before\n", 7);
    assert_non_null(strstr(text, "hint=wait\nafter\n"));
}

/* Journal -------------------------------------------------------------------------------------- */

static int listen_as_journald(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", journal_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int log_three_to_the_journal(void)
{
    log_set_journal_for_test(journal_path);
    return log_three(LOG_FORMAT_JOURNAL);
}

/* As systemd starts it: $JOURNAL_STREAM names what stderr is. */
static int log_three_under_systemd(void)
{
    struct stat st;
    char stream[64];

    fstat(STDERR_FILENO, &st);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_set_journal_for_test(journal_path);
    return log_three(LOG_FORMAT_AUTO);
}

static void entries_are_native(program_fn *program)
{
    auto_close int journald = listen_as_journald();
    auto_close int out = open_out();
    char entry[4096];

    assert_int_equal(run(program, out), 0);
    ssize_t n = recv(journald, entry, sizeof(entry) - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    entry[n] = '\0';
    assert_memory_equal(entry, "MESSAGE=certificate renewed certificate=www note=\"two words\"\n",
                        61);
    assert_non_null(strstr(entry, "\nPRIORITY=6\n"));
    assert_non_null(strstr(entry, "\nSYSLOG_IDENTIFIER=everleaf\n"));
    assert_non_null(strstr(entry, "\nCODE_FILE=base/log_test.c\n"));
    assert_non_null(strstr(entry, "\nEVERLEAF_CERTIFICATE=www\n"));
    assert_non_null(strstr(entry, "\nEVERLEAF_NOTE=two words\n"));

    n = recv(journald, entry, sizeof(entry) - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    entry[n] = '\0';
    assert_non_null(strstr(entry, "\nPRIORITY=3\n"));
    assert_non_null(strstr(entry, "\nEVERLEAF_ERROR=too many \\x1b[31m\n"));
    assert_non_null(strstr(entry, "\nEVERLEAF_STEP=new-order\n"));
    assert_non_null(strstr(entry, "\nEVERLEAF_CERTIFICATE=www\\x0a\\u202e\n"));
    assert_int_equal(recv(journald, entry, sizeof(entry), MSG_DONTWAIT), -1);
    auto_free char *text = read_out();
    assert_string_equal(text, "");
}

static void the_journal_gets_native_fields(void **state)
{
    (void)state;
    entries_are_native(log_three_to_the_journal);
}

static void automatic_is_the_journal_under_systemd(void **state)
{
    (void)state;
    entries_are_native(log_three_under_systemd);
}

static void without_a_journal_lines_go_to_stderr(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(run(log_three_to_the_journal, out), 0);
    auto_free char *text = read_out();
    assert_memory_equal(text, "{\"time\":\"", 9);
}

static int log_a_lot_to_the_journal(void)
{
    log_set_journal_for_test(journal_path);
    log_init(LOG_FORMAT_JOURNAL, LOG_LEVEL_INFO);
    for (int i = 0; i < 5000; i++)
        log_info("an entry nobody reads");
    return log_dropped() > 0 && log_dropped() < 5000 ? 0 : 1;
}

static void a_stopped_journald_does_not_block(void **state)
{
    auto_close int journald = listen_as_journald();
    auto_close int out = open_out();

    (void)state;
    assert_true(journald >= 0); /* there, but never read */
    assert_int_equal(run(log_a_lot_to_the_journal, out), 0);
}

static int log_through_a_restart_of_journald(void)
{
    char entry[4096];

    log_set_journal_for_test(journal_path);
    int journald = listen_as_journald();
    log_init(LOG_FORMAT_JOURNAL, LOG_LEVEL_INFO);
    log_info("one");
    close(journald);
    log_info("two"); /* lost */
    unlink(journal_path);
    log_info("three"); /* lost */
    journald = listen_as_journald();
    log_info("four");
    ssize_t n = recv(journald, entry, sizeof(entry), MSG_DONTWAIT);
    return n > 12 && memcmp(entry, "MESSAGE=four", 12) == 0 ? (int)log_dropped() : 99;
}

static void a_restarted_journald_is_found_again(void **state)
{
    auto_close int out = open_out();

    (void)state;
    assert_int_equal(run(log_through_a_restart_of_journald, out), 2);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(text_is_for_people),
        test(json_lines_carry_the_fields),
        test(automatic_is_json_into_a_file),
        test(automatic_is_text_on_a_terminal),
        test(color_is_around_the_level_only),
        test(milliseconds_are_cut_not_rounded),
        test(what_is_said_twice_counts_once),
        test(values_and_fields_have_a_limit),
        test(text_quotes_what_would_be_ambiguous),
        test(a_full_pipe_does_not_block),
        test(a_full_socket_does_not_block),
        test(a_reader_that_went_away_is_survived),
        test(a_full_disk_is_survived),
        test(the_line_after_a_torn_one_starts_anew),
        test(closed_descriptors_never_become_files_of_ours),
        test(a_file_is_continued_not_overwritten),
        test(the_journal_gets_native_fields),
        test(automatic_is_the_journal_under_systemd),
        test(without_a_journal_lines_go_to_stderr),
        test(a_stopped_journald_does_not_block),
        test(a_restarted_journald_is_found_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
