#include "store/test_store.h"

#include "store/state_private.h"

/* A task that notes that it ran; it waits for the gate when it has one. */
struct note {
    char text[32];
    char *log; /* of all tasks, 256 octets */
    int gate;  /* a pipe to read from, or -1 */
    bool fail;
    unsigned *freed;
};

static bool note_run(struct state *s, void *data, struct err **err)
{
    struct note *n = data;
    char c;

    (void)s;
    while (n->gate >= 0 && read(n->gate, &c, 1) < 0 && errno == EINTR)
        continue;
    strncat(n->log, n->text, 256 - strlen(n->log) - 1);
    return !n->fail || err_set(err, ERR_SYSTEM, "%s failed", n->text);
}

static void note_free(void *data)
{
    struct note *n = data;

    (*n->freed)++;
    free(n);
}

static void note_merge(void *data, void *newer)
{
    struct note *n = data;

    snprintf(n->text, sizeof n->text, "%s", ((struct note *)newer)->text);
}

struct notes {
    char log[256];
    unsigned freed;
    int gate[2];
};

static struct save *start(struct test_store *t, struct notes *notes, const char *lane,
                          const char *text, bool gated, bool merge, bool fail)
{
    struct note *n = xcalloc(1, sizeof *n);

    snprintf(n->text, sizeof n->text, "%s", text);
    n->log = notes->log;
    n->gate = gated ? notes->gate[0] : -1;
    n->fail = fail;
    n->freed = &notes->freed;
    struct save_task task = {
        .run = note_run, .free = note_free, .merge = merge ? note_merge : NULL, .data = n};
    return save_start(t->state, lane, task, test_on_save, t);
}

static void open_gate(struct notes *notes)
{
    assert_int_equal(write(notes->gate[1], "x", 1), 1);
}

static void setup_notes(struct test_store *t, struct notes *notes)
{
    test_open(t);
    assert_int_equal(pipe2(notes->gate, O_CLOEXEC), 0);
}

static void done_notes(struct notes *notes)
{
    close(notes->gate[0]);
    close(notes->gate[1]);
}

static void tasks_of_a_lane_follow_each_other(void **state)
{
    struct test_store *t = *state;
    struct notes notes = {0};

    setup_notes(t, &notes);
    start(t, &notes, "a", "1", true, false, false);
    start(t, &notes, "a", "2", false, false, false);
    start(t, &notes, "b", "x", false, false, false); /* another lane does not wait */
    test_wait_good(t);
    assert_string_equal(notes.log, "x");
    open_gate(&notes);
    test_wait_good(t);
    test_wait_good(t);
    assert_string_equal(notes.log, "x12");
    assert_int_equal(notes.freed, 3);
    done_notes(&notes);
}

static void only_the_newest_waiting_save_is_written_and_all_are_told(void **state)
{
    struct test_store *t = *state;
    struct notes notes = {0};

    setup_notes(t, &notes);
    start(t, &notes, "a", "1", true, true, false);
    start(t, &notes, "a", "2", true, true, false);
    start(t, &notes, "a", "3", true, true, false);
    open_gate(&notes);
    open_gate(&notes);
    while (t->calls < 3)
        test_wait_good(t);
    assert_string_equal(notes.log, "13");
    assert_int_equal(notes.freed, 3);
    done_notes(&notes);
}

static void a_failure_is_told_and_the_lane_goes_on(void **state)
{
    struct test_store *t = *state;
    struct notes notes = {0};

    setup_notes(t, &notes);
    start(t, &notes, "a", "1", false, false, true);
    start(t, &notes, "a", "2", false, false, false);
    test_wait(t);
    test_says(t->error, "1 failed");
    test_wait_good(t);
    assert_string_equal(notes.log, "12");
    done_notes(&notes);
}

static void a_freed_handle_forgets_the_callback_but_not_the_save(void **state)
{
    struct test_store *t = *state;
    struct notes notes = {0};

    setup_notes(t, &notes);
    struct save *first = start(t, &notes, "a", "1", true, false, false);
    struct save *second = start(t, &notes, "a", "2", false, false, false);
    save_free(first);
    save_free(second);
    start(t, &notes, "a", "3", false, false, false);
    open_gate(&notes);
    test_wait_good(t);
    assert_int_equal(t->calls, 1);
    assert_string_equal(notes.log, "123");
    done_notes(&notes);
}

static void on_save_free_state(const struct err *e, void *userdata)
{
    struct test_store *t = userdata;

    state_free(take(t->state));
    test_on_save(e, t);
}

static void the_state_lives_until_its_last_save_is_over(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    test_open(t);
    state_save(t->state, "www", "order", j, on_save_free_state, t);
    state_save(t->state, "www", "deploy", j, test_on_save, t);
    test_wait_good(t);
    if (t->calls < 2)
        test_wait_good(t);
    assert_true(test_exists(test_path(t, "state/certificates/www/deploy.json")));
    test_open(t); /* the lock is gone with it */
}

static void what_waits_is_written_when_the_worker_ends(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();
    struct save *saves[3];

    test_open(t);
    for (int i = 0; i < 3; i++) {
        json_put_int(j, "n", i);
        saves[i] = state_save(t->state, "www", "order", j, test_on_save, t);
    }
    worker_free(take(t->worker));
    assert_int_equal(t->calls, 0);
    for (int i = 0; i < 3; i++)
        save_free(saves[i]); /* handles outlive the worker */
    auto_free char *text = test_read(test_path(t, "state/certificates/www/order.json"));
    assert_non_null(text);
    assert_non_null(strstr(text, "\"n\": 2"));
}

static struct save *own;

static void on_own(const struct err *e, void *userdata)
{
    save_free(own);
    test_on_save(e, userdata);
}

static void the_handle_may_be_freed_in_its_own_callback(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    test_open(t);
    own = state_save(t->state, "www", "order", j, on_own, t);
    test_wait_good(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(tasks_of_a_lane_follow_each_other),
        STORE_TEST(only_the_newest_waiting_save_is_written_and_all_are_told),
        STORE_TEST(a_failure_is_told_and_the_lane_goes_on),
        STORE_TEST(a_freed_handle_forgets_the_callback_but_not_the_save),
        STORE_TEST(the_state_lives_until_its_last_save_is_over),
        STORE_TEST(what_waits_is_written_when_the_worker_ends),
        STORE_TEST(the_handle_may_be_freed_in_its_own_callback),
    };

    return cmocka_run_group_tests_name("save", tests, NULL, NULL);
}
