#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits can say */
#define TIME_FIRST ((time_t)-62167219200)
#define TIME_LAST  ((time_t)253402300799)

static atomic_int_least64_t shift_s;

int64_t clock_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return ((int64_t)t.tv_sec + atomic_load(&shift_s)) * 1000000 + t.tv_nsec / 1000;
}

time_t clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec + (time_t)atomic_load(&shift_s);
}

int64_t clock_boot_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void clock_shift_for_test(int64_t seconds)
{
    atomic_fetch_add(&shift_s, seconds);
}

/* Instants ------------------------------------------------------------------------------------- */

const char *clock_rfc3339(time_t t, char out[CLOCK_TEXT_MAX])
{
    struct tm tm;

    t = t < TIME_FIRST ? TIME_FIRST : t > TIME_LAST ? TIME_LAST : t;
    gmtime_r(&t, &tm);
    int n = snprintf(out, CLOCK_TEXT_MAX, "%04d-", tm.tm_year + 1900); /* %Y does not pad */
    strftime(out + n, CLOCK_TEXT_MAX - (size_t)n, "%m-%dT%H:%M:%SZ", &tm);
    return out;
}

/* Exactly n digits. */
static bool read_digits(const char **at, int n, int *ret)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += n;
    *ret = value;
    return true;
}

/* One character of `any`. */
static bool read_char(const char **at, const char *any)
{
    if (!**at || !strchr(any, **at))
        return false;
    ++*at;
    return true;
}

static bool read_text(const char **at, const char *text)
{
    size_t len = strlen(text);

    if (strncmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool read_time_of_day(const char **at, struct tm *tm)
{
    return read_digits(at, 2, &tm->tm_hour) && read_char(at, ":") &&
           read_digits(at, 2, &tm->tm_min) && read_char(at, ":") && read_digits(at, 2, &tm->tm_sec);
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* From year, month and day as people write them. Second 60 is legal (RFC 3339 5.7) and becomes the
 * next second; anything else timegm() would carry over is refused. */
static bool to_instant(struct tm *tm, time_t *ret_t)
{
    if (tm->tm_mon < 1 || tm->tm_mon > 12 || tm->tm_mday < 1 ||
        tm->tm_mday > days_in(tm->tm_year, tm->tm_mon) || tm->tm_hour > 23 || tm->tm_min > 59 ||
        tm->tm_sec > 60)
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    *ret_t = timegm(tm);
    return true;
}

static bool read_offset(const char **at, int *ret_s)
{
    int hours, minutes, sign = **at == '-' ? -1 : 1;

    *ret_s = 0;
    if (read_char(at, "Zz"))
        return true;
    if (!read_char(at, "+-") || !read_digits(at, 2, &hours) || !read_char(at, ":") ||
        !read_digits(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse_rfc3339(const char *text, time_t *ret_t)
{
    const char *at = text;
    struct tm tm = {0};
    int offset_s;
    time_t t;

    if (!read_digits(&at, 4, &tm.tm_year) || !read_char(&at, "-") ||
        !read_digits(&at, 2, &tm.tm_mon) || !read_char(&at, "-") ||
        !read_digits(&at, 2, &tm.tm_mday) || !read_char(&at, "Tt ") || !read_time_of_day(&at, &tm))
        return false;
    if (read_char(&at, ".")) {
        if (!read_char(&at, "0123456789"))
            return false;
        at += strspn(at, "0123456789");
    }
    if (!read_offset(&at, &offset_s) || *at || !to_instant(&tm, &t))
        return false;
    *ret_t = t - offset_s;
    return true;
}

static bool read_name(const char **at, const char *const *names, size_t n, int *ret_index)
{
    for (size_t i = 0; i < n; i++) {
        if (read_text(at, names[i])) {
            *ret_index = (int)i;
            return true;
        }
    }
    return false;
}

bool clock_parse_http_date(const char *text, time_t *ret_t)
{
    static const char *const weekdays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const char *at = text;
    struct tm tm = {0};
    int weekday; /* a wrong one changes nothing about the instant */

    if (!read_name(&at, weekdays, ARRAY_LEN(weekdays), &weekday) || !read_text(&at, ", ") ||
        !read_digits(&at, 2, &tm.tm_mday) || !read_char(&at, " ") ||
        !read_name(&at, months, ARRAY_LEN(months), &tm.tm_mon) || !read_char(&at, " ") ||
        !read_digits(&at, 4, &tm.tm_year) || !read_char(&at, " ") || !read_time_of_day(&at, &tm) ||
        !read_text(&at, " GMT") || *at)
        return false;
    tm.tm_mon += 1;
    return to_instant(&tm, ret_t);
}

/* A number without sign; INT64_MAX stands for everything larger. */
static bool read_number(const char **at, int64_t *ret)
{
    size_t len = strspn(*at, "0123456789");
    int64_t n = 0;

    for (size_t i = 0; i < len && n < INT64_MAX; i++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (*at)[i] - '0', &n))
            n = INT64_MAX;
    *at += len;
    *ret = n;
    return len > 0;
}

bool clock_parse_retry_after(const char *text, time_t now, int64_t min_s, int64_t max_s,
                             time_t *ret_t)
{
    const char *at = text;
    int64_t wait_s;
    time_t t;

    if (!text)
        return false;
    if (!read_number(&at, &wait_s) || *at) {
        if (!clock_parse_http_date(text, &t))
            return false;
        wait_s = (int64_t)t - (int64_t)now;
    }
    wait_s = wait_s < min_s ? min_s : wait_s > max_s ? max_s : wait_s;
    *ret_t = now + (time_t)wait_s;
    return true;
}

/* Durations ------------------------------------------------------------------------------------ */

static const struct unit {
    char letter;
    int64_t seconds;
} units[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

static const struct unit *unit_of(char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].letter == letter)
            return &units[i];
    return NULL;
}

bool duration_parse(const char *text, int64_t *ret_s)
{
    const char *at = text;
    int64_t total = 0, n;

    do {
        const struct unit *unit;

        if (!read_number(&at, &n) || !(unit = unit_of(*at++)) ||
            __builtin_mul_overflow(n, unit->seconds, &n) ||
            __builtin_add_overflow(total, n, &total))
            return false;
    } while (*at);
    if (total == INT64_MAX) /* also what read_number() says when it gave up */
        return false;
    *ret_s = total;
    return true;
}

const char *duration_text(int64_t s, char out[CLOCK_TEXT_MAX])
{
    static const struct unit shown[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    uint64_t left = s < 0 ? 0 - (uint64_t)s : (uint64_t)s;
    const char *sign = s < 0 ? "-" : "";
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(shown) && left < (uint64_t)shown[i].seconds)
        i++;
    uint64_t large = left / (uint64_t)shown[i].seconds, rest = left % (uint64_t)shown[i].seconds;
    if (i + 1 == ARRAY_LEN(shown) || rest < (uint64_t)shown[i + 1].seconds) {
        snprintf(out, CLOCK_TEXT_MAX, "%s%" PRIu64 "%c", sign, large, shown[i].letter);
        return out;
    }
    uint8_t small = (uint8_t)(rest / (uint64_t)shown[i + 1].seconds); /* at most 59 */
    snprintf(out, CLOCK_TEXT_MAX, "%s%" PRIu64 "%c%s%d%c", sign, large, shown[i].letter,
             i == 0 ? " " : "", small, shown[i + 1].letter);
    return out;
}
