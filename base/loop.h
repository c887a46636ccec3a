/* The event loop: the only user of sd-event. Everything that waits is a handle (timer, io, http call,
 * worker job, child process): freeing the handle cancels, the callback runs at most once per event,
 * never from inside the function that started it, and never after the free. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct loop;

NODISCARD struct loop *loop_new(struct err **err);
void loop_free(struct loop *l);
/* Runs until loop_exit; returns its code. */
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

/* Readiness of a descriptor; level-triggered. The descriptor stays the caller's. */
struct io;
typedef void io_fn(struct io *io, uint32_t epoll_events, void *userdata);
NODISCARD struct io *io_new(struct loop *l, int fd, uint32_t epoll_events, io_fn *fn, void *userdata,
                            struct err **err);
void io_set(struct io *io, uint32_t epoll_events);
void io_free(struct io *io);

/* One-shot timers. timer_after counts CLOCK_BOOTTIME milliseconds (0: next turn of the loop);
 * timer_at waits for a wall-clock instant and is right after suspend and clock steps (the clock is
 * watched, nothing polls). */
struct timer;
typedef void timer_fn(void *userdata);
struct timer *timer_after(struct loop *l, int64_t ms, timer_fn *fn, void *userdata);
struct timer *timer_at(struct loop *l, time_t instant, timer_fn *fn, void *userdata);
void timer_free(struct timer *t); /* NULL is fine; also allowed (and needed) after it fired */

struct sd_event *loop_sd_event(struct loop *l); /* for base/ only */
