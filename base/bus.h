/* Jobs of systemd, asked for over D-Bus: the only user of sd-bus. What `systemctl reload UNIT`
 * does, with its result: subscribe, look at the unit, ask for the job, wait for the end of just
 * that job.
 *
 * Each job has a connection of its own, open for as long as it lasts: they are rare. The address is
 * $DBUS_SYSTEM_BUS_ADDRESS, else /run/dbus/system_bus_socket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"

enum bus_action { BUS_RELOAD, BUS_TRY_RESTART, BUS_RELOAD_OR_RESTART };

enum bus_outcome {
    BUS_DONE,
    BUS_INACTIVE, /* the unit does not run: no job was asked for */
    BUS_UNKNOWN,  /* there is no such unit */
    BUS_OTHER,    /* it runs, but its main process is not the one that was expected */
    BUS_ABSENT,   /* no bus, or no systemd on it; err says what */
    BUS_DENIED,   /* err says what to allow, and how */
    BUS_FAILED,   /* err: the job's result, or the bus broke, or it took too long */
};

/* Whether systemd runs here, or somebody gave us the address of its bus. */
bool bus_is_likely(void);

struct bus_job;
/* e is set for BUS_ABSENT and everything below. The handle is gone when it returns; bus_job_free in
 * it is harmless. */
typedef void bus_job_fn(enum bus_outcome outcome, const struct err *e, void *userdata);
/* Never starts a unit that does not run, whatever the action. main_pid: BUS_OTHER when the unit has
 * a main process and it is not this one; 0: whoever. Calls back on a later turn. */
struct bus_job *bus_job_start(struct loop *l, enum bus_action action, const char *unit,
                              pid_t main_pid, int64_t timeout_ms, bus_job_fn *fn, void *userdata);
void bus_job_free(struct bus_job *j); /* NULL is fine; the job of systemd goes on */
