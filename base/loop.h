/* The event loop: the only user of sd-event. Everything that waits is a handle (timer, io, http
 * call, worker job, child process): freeing the handle cancels, the callback runs at most once per
 * event, never from inside the function that started it, and never after the free.
 *
 * Handles that end by one callback (calls, jobs, processes) are gone when it returns; freeing them
 * inside it is harmless, so that an owner may free everything it has there. Timers and io stay
 * until they are freed, and may be freed inside their own callback. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct loop;

/* Also ignores SIGPIPE and takes SIGCHLD back to its default (an inherited SIG_IGN would lose the
 * exit status of children). */
NODISCARD struct loop *loop_new(struct err **err);
void loop_free(struct loop *l);
/* Runs until loop_exit, which may come before it; returns its code. May be called again. */
int loop_run(struct loop *l);
void loop_exit(struct loop *l, int code);
/* Signals (blocked and read by signalfd); one callback per signal for the life of the loop. */
typedef void loop_signal_fn(int signo, void *userdata);
NODISCARD bool loop_on_signal(struct loop *l, int signo, loop_signal_fn *fn, void *userdata,
                              struct err **err);
/* systemd notification ("READY=1"); a no-op without $NOTIFY_SOCKET. */
void loop_notify(const char *state);
/* Answers WatchdogSec= from the loop while it turns. */
void loop_watchdog(struct loop *l);

/* Readiness of a descriptor (EPOLLIN, ...); level-triggered. The descriptor stays the caller's and
 * is closed after io_free. No events: not watched at all, not even for errors. */
struct io;
typedef void io_fn(struct io *io, uint32_t epoll_events, void *userdata);
NODISCARD struct io *io_new(struct loop *l, int fd, uint32_t epoll_events, io_fn *fn,
                            void *userdata, struct err **err);
void io_set(struct io *io, uint32_t epoll_events);
void io_free(struct io *io); /* NULL is fine */

/* One-shot timers. timer_after counts CLOCK_BOOTTIME milliseconds (0: next turn of the loop);
 * timer_at waits for a wall-clock instant and is right after suspend and clock steps (the clock is
 * watched, nothing polls). Neither is early; late by at most 1/64 of the wait, or 250 ms. */
struct timer;
typedef void timer_fn(void *userdata);
struct timer *timer_after(struct loop *l, int64_t ms, timer_fn *fn, void *userdata);
struct timer *timer_at(struct loop *l, time_t instant, timer_fn *fn, void *userdata);
void timer_free(struct timer *t); /* NULL is fine; also allowed (and needed) after it fired */

/* For base/bus.c, which sd-bus can only be driven by. */
struct sd_event;
struct sd_event *loop_sd_event(struct loop *l);

/* Takes a child that was killed: reaps it when it is dead, and closes its pidfd. */
void loop_reap(struct loop *l, int pidfd);
