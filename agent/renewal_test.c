#include "agent/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOUR INT64_C(3600)
#define DAY  (24 * HOUR)
#define T0   INT64_C(1700000000)

static struct validity lasting(int64_t seconds)
{
    return (struct validity){T0, T0 + seconds - 1};
}

/* Seconds of life left when it is due. */
static int64_t left_when_due(const struct config_certificate *c, int64_t life, double jitter)
{
    return T0 + life - 1 - renewal_instant(c, lasting(life), jitter);
}

static void is_due_with_a_third_of_its_life_left_and_half_under_ten_days(void **state)
{
    const struct config_certificate c = {0};
    static const struct {
        int64_t life, left;
    } cases[] = {
        {90 * DAY, 30 * DAY},
        {398 * DAY, 398 * DAY / 3},
        {10 * DAY, 10 * DAY / 3},
        {10 * DAY - 1, (10 * DAY - 1) / 2},
        {6 * DAY, 3 * DAY},
        {HOUR, HOUR / 2},
        {300, 150},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(left_when_due(&c, cases[i].life, 0), cases[i].left);
}

static void jitter_makes_it_earlier_by_at_most_a_twentieth_and_half_a_day(void **state)
{
    const struct config_certificate c = {0};
    (void)state;
    assert_int_equal(left_when_due(&c, 90 * DAY, 1), 30 * DAY + 12 * HOUR);
    assert_int_equal(left_when_due(&c, 90 * DAY, 0.5), 30 * DAY + 6 * HOUR);
    assert_int_equal(left_when_due(&c, HOUR, 1), HOUR / 2 + HOUR / 20);
}

static void an_explicit_time_may_only_make_it_earlier(void **state)
{
    const struct config_certificate earlier = {.renew_explicit = true, .renew_before_s = 45 * DAY};
    const struct config_certificate later = {.renew_explicit = true, .renew_before_s = 5 * DAY};
    const struct config_certificate share = {.renew_explicit = true, .renew_share = 0.5};
    (void)state;
    assert_int_equal(left_when_due(&earlier, 90 * DAY, 0), 45 * DAY);
    assert_int_equal(left_when_due(&later, 90 * DAY, 0), 30 * DAY);
    assert_int_equal(left_when_due(&share, 90 * DAY, 0), 45 * DAY);
}

static void a_time_beyond_the_lifetime_does_not_renew_for_ever(void **state)
{
    const struct config_certificate c = {.renew_explicit = true, .renew_before_s = 400 * DAY};
    (void)state;
    assert_int_equal(left_when_due(&c, 90 * DAY, 1), 81 * DAY);
}

static void a_validity_that_ends_before_it_begins_is_due(void **state)
{
    const struct config_certificate c = {0};
    struct validity v = {T0, T0 - 5};
    (void)state;
    assert_true(renewal_instant(&c, v, 0.5) <= T0);
    assert_true(renewal_is_emergency(v, T0));
}

static char name_a[] = "a.example", name_b[] = "b.example";
static char url[] = "https://ca.example/dir", other_url[] = "https://other.example/dir";
static char p256[] = "ecdsa-p256", rsa[] = "rsa-2048";

struct fixture {
    char *names[3];
    struct config_issuer issuer;
    struct config_certificate certificate;
    struct generation_facts newest;
    struct renewal_facts facts;
};

static void fill(struct fixture *f)
{
    *f = (struct fixture){.names = {name_a, name_b, NULL}, .issuer.directory = url};
    f->certificate = (struct config_certificate){
        .names = {f->names, 2}, .issuer = &f->issuer, .key_type = KEY_ECDSA_P256};
    f->newest = (struct generation_facts){.number = 1,
                                          .names = {f->names, 2},
                                          .key_type = p256,
                                          .directory = url,
                                          .not_before = T0,
                                          .not_after = T0 + 90 * DAY - 1};
    f->facts = (struct renewal_facts){.newest = &f->newest};
}

static enum renew_reason reason_at(const struct fixture *f, int64_t after)
{
    return renewal_reason(&f->certificate, &f->facts, T0 + after);
}

static void nothing_is_due_while_facts_and_configuration_agree(void **state)
{
    struct fixture f;
    char *swapped[] = {name_b, name_a, NULL};
    (void)state;
    fill(&f);
    assert_int_equal(reason_at(&f, 0), RENEW_NOT_DUE);
    assert_int_equal(reason_at(&f, 60 * DAY - 2), RENEW_NOT_DUE);
    f.newest.names.items = swapped; /* order does not count */
    assert_int_equal(reason_at(&f, 0), RENEW_NOT_DUE);
    f.newest.directory = NULL; /* unknown is no change */
    assert_int_equal(reason_at(&f, 0), RENEW_NOT_DUE);
}

static void every_change_is_a_reason(void **state)
{
    struct fixture f;
    (void)state;
    fill(&f);
    assert_int_equal(reason_at(&f, 60 * DAY), RENEW_LIFETIME);
    fill(&f);
    f.newest.names.n = 1;
    assert_int_equal(reason_at(&f, 0), RENEW_NAMES);
    fill(&f);
    f.certificate.names.n = 1;
    assert_int_equal(reason_at(&f, 0), RENEW_NAMES);
    fill(&f);
    f.newest.key_type = rsa;
    assert_int_equal(reason_at(&f, 0), RENEW_KEY);
    fill(&f);
    f.newest.directory = other_url;
    assert_int_equal(reason_at(&f, 0), RENEW_ISSUER);
    fill(&f);
    f.facts.newest = NULL;
    assert_int_equal(reason_at(&f, 0), RENEW_MISSING);
    fill(&f);
    f.facts.damaged = true;
    assert_int_equal(reason_at(&f, 0), RENEW_DAMAGED);
}

static void back_off_grows_tenfold_up_to_a_day(void **state)
{
    static const int64_t expected[] = {60, 600, 6000, 60000, DAY, DAY};
    (void)state;
    for (int i = 0; i < (int)ARRAY_LEN(expected); i++) {
        int64_t s = renewal_next_try(i + 1, T0, NULL, 0, UINT32_MAX / 2) - T0;
        assert_in_range(s, expected[i] * 8 / 10, expected[i] * 12 / 10);
    }
}

static void back_off_never_vanishes_and_never_overflows(void **state)
{
    static const int failures[] = {0, 1, 40, 1000, INT32_MAX};
    static const uint32_t randoms[] = {0, 1, UINT32_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        for (size_t j = 0; j < ARRAY_LEN(randoms); j++) {
            int64_t s = renewal_next_try(failures[i], T0, NULL, 0, randoms[j]) - T0;
            assert_in_range(s, 30, DAY * 12 / 10);
        }
    }
}

static void back_off_shrinks_with_what_is_left_of_a_short_life(void **state)
{
    struct validity hour = lasting(HOUR);
    struct validity quarter = lasting(90 * DAY);
    (void)state;
    /* half an hour left: at most about 4 minutes */
    assert_in_range(renewal_next_try(9, T0 + HOUR / 2, &hour, 0, 7) - (T0 + HOUR / 2), 30, 270);
    /* nearly over: still not without a pause */
    assert_in_range(renewal_next_try(9, T0 + HOUR - 10, &hour, 0, 7) - (T0 + HOUR - 10), 30, 72);
    /* over: by the whole life, so that an hourly certificate does not wait for a day */
    assert_in_range(renewal_next_try(9, T0 + 2 * HOUR, &hour, 0, 7) - (T0 + 2 * HOUR), 300, 540);
    assert_in_range(renewal_next_try(9, T0 + 60 * DAY, &quarter, 0, 7) - (T0 + 60 * DAY),
                    DAY * 8 / 10, DAY * 12 / 10);
}

static void never_before_the_retry_after_of_the_ca(void **state)
{
    (void)state;
    assert_int_equal(renewal_next_try(1, T0, NULL, T0 + 5000, 1), T0 + 5000);
    assert_true(renewal_next_try(3, T0, NULL, T0 + 5, 1) > T0 + 5);
}

static void an_emergency_is_the_last_twentieth(void **state)
{
    struct validity v = lasting(100 * HOUR);
    (void)state;
    assert_false(renewal_is_emergency(v, T0));
    assert_false(renewal_is_emergency(v, T0 + 94 * HOUR));
    assert_true(renewal_is_emergency(v, T0 + 95 * HOUR + 1));
    assert_true(renewal_is_emergency(v, T0 + 200 * HOUR));
    assert_false(renewal_is_emergency(v, renewal_emergency(v) - 1));
    assert_true(renewal_is_emergency(v, renewal_emergency(v)));
}

static void reasons_have_the_names_of_the_status_document(void **state)
{
    (void)state;
    assert_null(renew_reason_name(RENEW_NOT_DUE));
    assert_string_equal(renew_reason_name(RENEW_LIFETIME), "lifetime");
    assert_string_equal(renew_reason_name(RENEW_FORCED), "forced");
    assert_string_equal(renew_reason_name(RENEW_DAMAGED), "damaged");
}

/* ARI ------------------------------------------------------------------------------------------ */

static const int64_t lives[] = {HOUR, DAY, 6 * DAY, 45 * DAY, 64 * DAY, 90 * DAY, 398 * DAY};

static struct renewal_due due_with(struct fixture *f, int64_t life, time_t ari_at)
{
    f->newest.not_after = T0 + life - 1;
    f->newest.created_at = T0;
    f->facts.ari_at = ari_at;
    return renewal_due(&f->certificate, &f->facts);
}

static void the_instant_of_ari_goes_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        struct fixture f;
        fill(&f);
        time_t early = T0 + lives[i] / 10, late = T0 + lives[i] * 9 / 10;
        struct renewal_due none = due_with(&f, lives[i], 0);
        assert_false(none.by_ari);
        assert_true(early < none.at && none.at < late);
        assert_int_equal(due_with(&f, lives[i], early).at, early);
        assert_true(due_with(&f, lives[i], early).by_ari);
        assert_int_equal(due_with(&f, lives[i], late).at, late);
        assert_int_equal(reason_at(&f, lives[i] * 9 / 10 - 1), RENEW_NOT_DUE);
        assert_int_equal(reason_at(&f, lives[i] * 9 / 10), RENEW_ARI);
    }
    assert_string_equal(renew_reason_name(RENEW_ARI), "ari");
}

static void below_a_twentieth_of_the_life_ari_counts_for_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        struct fixture f;
        fill(&f);
        struct renewal_due due = due_with(&f, lives[i], T0 + 10 * lives[i]);
        struct validity v = {T0, f.newest.not_after};
        assert_false(due.by_ari);
        assert_true(renewal_is_emergency(v, due.at));
        assert_false(renewal_is_emergency(v, due.at - 1));
    }
}

static void an_explicit_time_may_be_earlier_than_ari_but_not_later(void **state)
{
    struct fixture f;
    (void)state;
    fill(&f);
    f.certificate.renew_explicit = true;
    f.certificate.renew_share = 0.5;
    assert_int_equal(due_with(&f, 90 * DAY, T0 + 60 * DAY).at, T0 + 45 * DAY - 1);
    assert_false(due_with(&f, 90 * DAY, T0 + 60 * DAY).by_ari);
    f.certificate.renew_share = 0.1;
    assert_int_equal(due_with(&f, 90 * DAY, T0 + 60 * DAY).at, T0 + 60 * DAY);
    assert_true(due_with(&f, 90 * DAY, T0 + 60 * DAY).by_ari);
}

/* A CA whose windows are always past, followed for the days of one year. */
static void a_ca_that_always_says_now_is_followed_ever_more_slowly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        struct fixture f;
        int64_t now = T0 + 5, renewals = 0;
        fill(&f);
        f.newest.created_at = T0;
        for (; now < T0 + 20 * lives[i]; renewals++) {
            f.newest.not_before = f.newest.created_at;
            f.newest.not_after = f.newest.created_at + lives[i] - 1;
            f.facts.ari_at = f.newest.created_at - HOUR;
            struct renewal_due due = renewal_due(&f.certificate, &f.facts);
            assert_true(due.at < f.newest.not_after);
            now = due.at > now ? due.at : now;
            enum renew_reason reason = renewal_reason(&f.certificate, &f.facts, now);
            assert_int_equal(reason, RENEW_ARI);
            f.facts.ari_renewals = renewal_counts_ari(&f.facts, reason, now);
            f.newest.created_at = now;
        }
        int64_t daily = lives[i] > 8 * DAY ? 20 * lives[i] / DAY : 20 * 8;
        assert_in_range(renewals, 20, daily * 5 / 4 + 40);
    }
}

static void one_revocation_is_followed_at_once(void **state)
{
    struct fixture f;
    (void)state;
    fill(&f);
    assert_int_equal(due_with(&f, 90 * DAY, T0 - HOUR).at, T0 - HOUR);
    assert_int_equal(renewal_counts_ari(&f.facts, RENEW_ARI, T0 + DAY), 1);
    f.facts.ari_renewals = 3;
    assert_int_equal(renewal_counts_ari(&f.facts, RENEW_ARI, T0 + DAY), 4);
    assert_int_equal(renewal_counts_ari(&f.facts, RENEW_ARI, T0 + 60 * DAY), 1);
    assert_int_equal(renewal_counts_ari(&f.facts, RENEW_LIFETIME, T0 + DAY), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_due_with_a_third_of_its_life_left_and_half_under_ten_days),
        cmocka_unit_test(jitter_makes_it_earlier_by_at_most_a_twentieth_and_half_a_day),
        cmocka_unit_test(an_explicit_time_may_only_make_it_earlier),
        cmocka_unit_test(a_time_beyond_the_lifetime_does_not_renew_for_ever),
        cmocka_unit_test(a_validity_that_ends_before_it_begins_is_due),
        cmocka_unit_test(nothing_is_due_while_facts_and_configuration_agree),
        cmocka_unit_test(every_change_is_a_reason),
        cmocka_unit_test(the_instant_of_ari_goes_both_ways),
        cmocka_unit_test(below_a_twentieth_of_the_life_ari_counts_for_nothing),
        cmocka_unit_test(an_explicit_time_may_be_earlier_than_ari_but_not_later),
        cmocka_unit_test(a_ca_that_always_says_now_is_followed_ever_more_slowly),
        cmocka_unit_test(one_revocation_is_followed_at_once),
        cmocka_unit_test(back_off_grows_tenfold_up_to_a_day),
        cmocka_unit_test(back_off_never_vanishes_and_never_overflows),
        cmocka_unit_test(back_off_shrinks_with_what_is_left_of_a_short_life),
        cmocka_unit_test(never_before_the_retry_after_of_the_ca),
        cmocka_unit_test(an_emergency_is_the_last_twentieth),
        cmocka_unit_test(reasons_have_the_names_of_the_status_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
