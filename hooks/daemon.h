/* What servers have in common that are daemons with a configuration file, reloaded by their systemd
 * unit or by a signal to the process of their pid file: settings, field table rows, the reload. */
#pragma once

#include "hooks/job.h"
#include "hooks/process.h"

enum daemon_reload { DAEMON_AUTO, DAEMON_SYSTEMD, DAEMON_SIGNAL, DAEMON_OFF, DAEMON_SOCKET };

struct daemon {
    char *binary, *config, *pid_file, *unit;
    int reload; /* enum daemon_reload */
};

extern const char *const daemon_reload_names[];        /* all but socket */
extern const char *const daemon_socket_reload_names[]; /* all */

/* Rows for settings that are, or begin with, a struct daemon. */
#define DAEMON_BINARY(text_)                                                                       \
    {                                                                                              \
        .name = "binary", .type = FIELD_PATH, .offset = offsetof(struct daemon, binary),           \
        .preset = (text_), .help = "the program, for its own check and to recognise its process"   \
    }
#define DAEMON_CONFIG(text_)                                                                       \
    {                                                                                              \
        .name = "config", .type = FIELD_PATH, .offset = offsetof(struct daemon, config),           \
        .preset = (text_), .help = "the configuration that it checks"                              \
    }
#define DAEMON_PID_FILE(text_)                                                                     \
    {                                                                                              \
        .name = "pid_file", .type = FIELD_PATH, .offset = offsetof(struct daemon, pid_file),       \
        .preset = (text_), .help = "the file with the pid of its main process"                     \
    }
#define DAEMON_UNIT(text_)                                                                         \
    {                                                                                              \
        .name = "unit", .type = FIELD_STRING, .offset = offsetof(struct daemon, unit),             \
        .preset = (text_), .help = "its systemd unit"                                              \
    }
#define DAEMON_RELOAD(names_, text_)                                                               \
    {                                                                                              \
        .name = "reload", .type = FIELD_CHOICE, .offset = offsetof(struct daemon, reload),         \
        .choices = (names_), .preset = "auto", .help = (text_)                                     \
    }
#define DAEMON_RELOAD_HELP                                                                         \
    "auto: by the systemd unit where that is what runs, else by signal; off: somebody else "       \
    "reloads it"

/* Whether its own check can tell anything: it needs the rights of the daemon (to read keys, to open
 * logs), or it fails on good configurations, too. */
bool daemon_may_check(const struct daemon *d);

struct daemon_way {
    int signo;
    const struct strv *command; /* instead of the signal, to a process that is there; or NULL */
    const char *exe; /* base name of the process when it is not the binary's; NULL: the binary's */
    bool first_line; /* see struct process_target */
    bool any_exe;    /* the process runs something else */
};
/* auto: the unit, when it is active and its main process is the one in the pid file (if any is);
 * else, or when systemd does not let us, the signal. */
struct hook_job *daemon_reload(const struct server *s, const struct daemon *d,
                               const struct daemon_way *way, struct loop *l, reload_fn *fn,
                               void *userdata);
