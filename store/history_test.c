#include "store/test_store.h"

#include "store/history.h"

#define HISTORY "state/certificates/www/history.jsonl"

/* Saves of one lane are in order: once this one is told, what was added before it is on disk. */
static void wait_for_history(struct test_store *t)
{
    worker_free(take(t->worker));
    state_free(take(t->state));
    t->worker = worker_new(t->loop, 2, NULL);
    test_open(t);
}

static void events_come_back_oldest_first(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    state_history_add(t->state, "www", "due", "a1", "a third of the lifetime is left");
    state_history_add(t->state, "www", "renewed", NULL, NULL);
    wait_for_history(t);
    auto_json json_t *list = state_history(t->state, "www");
    assert_int_equal(json_array_size(list), 2);
    const json_t *first = json_array_get(list, 0);
    assert_string_equal(json_str(first, "event"), "due");
    assert_string_equal(json_str(first, "attempt"), "a1");
    assert_string_equal(json_str(first, "text"), "a third of the lifetime is left");
    assert_true(json_time(first, "at") > 0);
    assert_string_equal(json_str(json_array_get(list, 1), "event"), "renewed");
    assert_null(json_str(json_array_get(list, 1), "attempt"));
    test_has_mode(test_path(t, HISTORY), 0600);
}

static void no_history_is_an_empty_list(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    auto_json json_t *list = state_history(t->state, "www");
    assert_true(json_is_array(list));
    assert_int_equal(json_array_size(list), 0);
}

static void a_torn_line_costs_only_itself(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, HISTORY), "{\"at\":null,\"event\":\"a\"}\nnonsense\n[]\n{\"event\":\"to",
             0600);
    state_history_add(t->state, "www", "b", NULL, NULL);
    wait_for_history(t);
    auto_json json_t *list = state_history(t->state, "www");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_str(json_array_get(list, 0), "event"), "a");
    assert_string_equal(json_str(json_array_get(list, 1), "event"), "b");
}

static void only_the_newest_lines_are_kept(void **state)
{
    struct test_store *t = *state;
    char *text = xcalloc(1, 200 * 1024);
    size_t len = 0;

    for (int i = 1; i <= 1100; i++)
        len += (size_t)sprintf(text + len, "{\"event\":\"e%d\",\"text\":\"%060d\"}\n", i, i);
    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, HISTORY), text, 0600);
    free(text);
    state_history_add(t->state, "www", "last", NULL, NULL);
    wait_for_history(t);
    auto_json json_t *list = state_history(t->state, "www");
    assert_int_equal(json_array_size(list), 500);
    assert_string_equal(json_str(json_array_get(list, 0), "event"), "e602");
    assert_string_equal(json_str(json_array_get(list, 499), "event"), "last");
}

static void long_texts_are_cut_between_characters(void **state)
{
    struct test_store *t = *state;
    char text[3001] = "";

    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4); /* U+20AC: 1024 is in the middle of one */
    test_open(t);
    state_history_add(t->state, "www", "e", NULL, text);
    wait_for_history(t);
    auto_json json_t *list = state_history(t->state, "www");
    const char *kept = json_str(json_array_get(list, 0), "text");
    assert_int_equal(strlen(kept), 1023);
    assert_memory_equal(kept, text, 1023);
}

static void appends_to_nobody_elses_file(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(link(test_path(t, "victim"), test_path(t, HISTORY)), 0);
    state_history_add(t->state, "www", "e", NULL, NULL);
    wait_for_history(t);
    unlink(test_path(t, HISTORY));
    assert_int_equal(symlink(test_path(t, "victim"), test_path(t, HISTORY)), 0);
    state_history_add(t->state, "www", "e", NULL, NULL);
    wait_for_history(t);
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(events_come_back_oldest_first),
        STORE_TEST(no_history_is_an_empty_list),
        STORE_TEST(a_torn_line_costs_only_itself),
        STORE_TEST(only_the_newest_lines_are_kept),
        STORE_TEST(long_texts_are_cut_between_characters),
        STORE_TEST(appends_to_nobody_elses_file),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
