/* sd-event with our rules. Its own exit state is final, so loop_run() turns it one event at a time.
 *
 * No timer polls: both kinds are absolute, CLOCK_BOOTTIME goes on in suspend, and the kernel looks
 * at CLOCK_REALTIME timers again whenever that clock is set or the machine wakes up. */
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define US_PER_MS       1000
#define US_PER_S        1000000
#define ACCURACY_US_MAX 250000
/* 9999-12-31: later instants occur in foreign certificates only, and in microseconds overflow. */
#define INSTANT_MAX  253402300799
#define AFTER_MS_MAX ((int64_t)INSTANT_MAX * 1000)

struct loop {
    sd_event *event;
    struct signal_watch *signals;
    struct dying *dying;
    bool exiting;
    int code;
};

struct signal_watch {
    sd_event_source *source;
    loop_signal_fn *fn;
    void *userdata;
    struct signal_watch *next;
};

struct dying {
    struct loop *loop;
    struct io *io;
    int pidfd;
    struct dying *next;
};

struct io {
    sd_event_source *source;
    io_fn *fn;
    void *userdata;
};

struct timer {
    sd_event_source *source;
    timer_fn *fn;
    void *userdata;
    time_t instant; /* of timer_at */
};

/* Descriptors
 * --------------------------------------------------------------------------------------- */

static int on_io(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    struct io *io = userdata;

    (void)s, (void)fd;
    io->fn(io, events, io->userdata); /* may free io */
    return 0;
}

struct io *io_new(struct loop *l, int fd, uint32_t epoll_events, io_fn *fn, void *userdata,
                  struct err **err)
{
    struct io *io = xcalloc(1, sizeof(*io));

    *io = (struct io){.fn = fn, .userdata = userdata};
    int r = sd_event_add_io(l->event, &io->source, fd, epoll_events, on_io, io);
    if (r < 0) {
        free(io);
        err_set_errno(err, -r, "descriptor %d cannot be watched", fd);
        return NULL;
    }
    io_set(io, epoll_events);
    return io;
}

/* A source without events would still wake us for EPOLLHUP, again and again. */
void io_set(struct io *io, uint32_t epoll_events)
{
    int r = sd_event_source_set_io_events(io->source, epoll_events);

    if (r >= 0)
        r = sd_event_source_set_enabled(io->source, epoll_events ? SD_EVENT_ON : SD_EVENT_OFF);
    if (r < 0)
        log_error("a descriptor cannot be watched any more", "error", strerror(-r));
}

void io_free(struct io *io)
{
    if (!io)
        return;
    sd_event_source_disable_unref(io->source);
    free(io);
}

/* Timers
 * ------------------------------------------------------------------------------------------- */

static uint64_t now_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

/* The instant on the kernel's clock: tests shift ours. Rounded, because the two readings of the
 * clock are not made at once. */
static uint64_t wall_us(time_t instant)
{
    int64_t ahead_us = clock_now_us() - (int64_t)now_us(CLOCK_REALTIME);
    int64_t shift_s = (ahead_us + (ahead_us < 0 ? -US_PER_S : US_PER_S) / 2) / US_PER_S;
    int64_t s = (int64_t)instant - shift_s;

    return (uint64_t)(s < 0 ? 0 : s < INSTANT_MAX ? s : INSTANT_MAX) * US_PER_S;
}

static int on_deferred(sd_event_source *s, void *userdata)
{
    const struct timer *t = userdata;

    (void)s;
    t->fn(t->userdata); /* may free t */
    return 0;
}

static int on_time(sd_event_source *s, uint64_t us, void *userdata)
{
    (void)us;
    return on_deferred(s, userdata);
}

/* The clock may have been set back after the timer ran out and before we came here. */
static int on_instant(sd_event_source *s, uint64_t us, void *userdata)
{
    const struct timer *t = userdata;

    if (clock_now() >= t->instant)
        return on_time(s, us, userdata);
    sd_event_source_set_time(s, wall_us(t->instant));
    sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
    return 0;
}

/* loop_new() has seen to it that only memory can be missing, and that ends the process everywhere.
 */
static struct timer *timer_made(struct timer *t, int r)
{
    if (r < 0) {
        log_error("a timer cannot be started", "error", strerror(-r));
        abort();
    }
    return t;
}

struct timer *timer_after(struct loop *l, int64_t ms, timer_fn *fn, void *userdata)
{
    struct timer *t = xcalloc(1, sizeof(*t));

    *t = (struct timer){.fn = fn, .userdata = userdata};
    if (ms <= 0)
        return timer_made(t, sd_event_add_defer(l->event, &t->source, on_deferred, t));

    uint64_t wait = (uint64_t)(ms < AFTER_MS_MAX ? ms : AFTER_MS_MAX) * US_PER_MS;
    uint64_t accuracy = wait / 64 < ACCURACY_US_MAX ? wait / 64 : ACCURACY_US_MAX;
    return timer_made(t, sd_event_add_time(l->event, &t->source, CLOCK_BOOTTIME,
                                           now_us(CLOCK_BOOTTIME) + wait, accuracy, on_time, t));
}

struct timer *timer_at(struct loop *l, time_t instant, timer_fn *fn, void *userdata)
{
    struct timer *t = xcalloc(1, sizeof(*t));

    *t = (struct timer){.fn = fn, .userdata = userdata, .instant = instant};
    return timer_made(t, sd_event_add_time(l->event, &t->source, CLOCK_REALTIME, wall_us(instant),
                                           ACCURACY_US_MAX, on_instant, t));
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    sd_event_source_disable_unref(t->source);
    free(t);
}

/* sd-event makes a descriptor for each clock with its first timer and keeps it: made here, no timer
 * can fail later for want of one. */
static int make_clock(sd_event *e, clockid_t clock)
{
    sd_event_source *s = NULL;
    int r = sd_event_add_time(e, &s, clock, UINT64_MAX, 1, on_time, NULL);

    sd_event_source_disable_unref(s);
    return r;
}

/* Children that were killed
 * ------------------------------------------------------------------------ */

static bool is_dead(int pidfd)
{
    siginfo_t info = {0};

    return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid != 0;
}

static void dying_free(struct dying *d)
{
    io_free(d->io);
    close(d->pidfd);
    free(d);
}

static void on_dead(struct io *io, uint32_t events, void *userdata)
{
    struct dying *d = userdata, **at = &d->loop->dying;

    (void)io, (void)events;
    if (!is_dead(d->pidfd))
        return;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    dying_free(d);
}

void loop_reap(struct loop *l, int pidfd)
{
    struct dying *d = xcalloc(1, sizeof(*d));

    *d = (struct dying){.loop = l, .pidfd = pidfd};
    if (!is_dead(pidfd))
        d->io = io_new(l, pidfd, EPOLLIN, on_dead, d, NULL);
    if (!d->io) {
        dying_free(d);
        return;
    }
    d->next = l->dying;
    l->dying = d;
}

/* The loop
 * ----------------------------------------------------------------------------------------- */

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
    const struct signal_watch *w = userdata;

    (void)s;
    w->fn((int)info->ssi_signo, w->userdata);
    return 0;
}

bool loop_on_signal(struct loop *l, int signo, loop_signal_fn *fn, void *userdata, struct err **err)
{
    struct signal_watch *w = xcalloc(1, sizeof(*w));
    sigset_t set;

    *w = (struct signal_watch){.fn = fn, .userdata = userdata};
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int r = sd_event_add_signal(l->event, &w->source, signo, on_signal, w);
    if (r < 0) {
        free(w);
        return err_set_errno(err, -r, "signal %d cannot be watched", signo);
    }
    w->next = l->signals;
    l->signals = w;
    return true;
}

sd_event *loop_sd_event(struct loop *l)
{
    return l->event;
}

void loop_notify(const char *state)
{
    sd_notify(0, state);
}

void loop_watchdog(struct loop *l)
{
    int r = sd_event_set_watchdog(l->event, true);

    if (r < 0)
        log_warning("the watchdog of systemd cannot be answered", "error", strerror(-r));
}

static void set_signal(int signo, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigaction(signo, &action, NULL);
}

struct loop *loop_new(struct err **err)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    set_signal(SIGPIPE, SIG_IGN);
    set_signal(SIGCHLD, SIG_DFL);
    int r = sd_event_new(&l->event);
    if (r >= 0)
        r = make_clock(l->event, CLOCK_BOOTTIME);
    if (r >= 0)
        r = make_clock(l->event, CLOCK_REALTIME);
    if (r < 0) {
        loop_free(l);
        err_set_errno(err, -r, "the event loop cannot be made");
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (l->dying) {
        struct dying *d = l->dying;
        l->dying = d->next;
        (void)is_dead(d->pidfd);
        dying_free(d);
    }
    while (l->signals) {
        struct signal_watch *w = l->signals;
        l->signals = w->next;
        sd_event_source_disable_unref(w->source);
        free(w);
    }
    sd_event_unref(l->event);
    free(l);
}

int loop_run(struct loop *l)
{
    while (!l->exiting) {
        int r = sd_event_run(l->event, UINT64_MAX);
        if (r < 0) {
            log_error("the event loop broke", "error", strerror(-r));
            loop_exit(l, r);
        }
    }
    l->exiting = false;
    return l->code;
}

void loop_exit(struct loop *l, int code)
{
    l->exiting = true;
    l->code = code;
}
