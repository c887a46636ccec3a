/* The inside of the state directory, for the files of store/ only.
 *
 * A root process never follows a symlink in here: everything is opened below a descriptor of its
 * folder with O_NOFOLLOW. What somebody else could have written is not used: folders and files must
 * belong to the directory's owner (or root) and be writable by nobody else. */
#pragma once

#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "store/state.h"

/* Everything but `refs` and `lanes` never changes after state_open, so that tasks may read it on
 * their threads; those two are touched on the loop only. */
struct state {
    unsigned refs; /* the owner's and one per save under way */
    char *path;
    int dirfd;
    int lockfd;
    enum state_access access;
    struct worker *worker;
    uid_t owner;
    gid_t group;
    dev_t device; /* with inode: is `path` still the directory we opened? */
    ino_t inode;
    bool shared;       /* 0750: its group may read certificates and keys */
    bool for_other;    /* root working on somebody's directory */
    struct map *lanes; /* of saves under way, store/save.c */
};

struct state *state_ref(struct state *s);
void state_unref(struct state *s);

/* Whether the directory is still where it was (not removed, moved or replaced). */
NODISCARD bool state_check_place(const struct state *s, struct err **err);

enum state_reader {
    STATE_PRIVATE, /* for the owner only: account keys, order keys, documents */
    STATE_SHARED,  /* for the servers' group as well, if the state directory is: generations */
};
struct file_mode state_file_mode(const struct state *s, enum state_reader reader);
struct file_mode state_folder_mode(const struct state *s, enum state_reader reader);
/* Opens a folder, made whole (owner, mode) before it gets its name when it is missing and `create`.
 * -1 on error; ENOENT when it is absent. */
NODISCARD int state_folder(const struct state *s, int dirfd, const char *name,
                           enum state_reader reader, bool create, struct err **err);
/* Reads a file of ours, at most max octets; replaces what is in `ret`. */
NODISCARD bool state_read(const struct state *s, int dirfd, const char *name, size_t max,
                          struct buf *ret, struct err **err);
/* Renames NAME to NAME.damaged-TIME (nothing but the message in STATE_READ) and logs why. */
void state_set_aside(const struct state *s, int dirfd, const char *name, const struct err *why);
/* Removes what a killed process left unfinished in a folder: every hidden entry. For folders in
 * which only we write. */
void state_sweep(int dirfd);
/* Calls fn with every name but "." and ".." until it returns false. For the many small folders of a
 * start: nothing is sorted, nothing allocated. False when the folder cannot be read. */
NODISCARD bool state_each_name(int dirfd, bool (*fn)(const char *name, void *userdata),
                               void *userdata, struct err **err);

/* Saves ------------------------------------------------------------------------------------- */

/* What a save does: `run` on a pool thread (it may touch `data` and the constant part of the
 * state), the others on the loop. */
struct save_task {
    bool (*run)(struct state *s, void *data, struct err **err);
    void (*free)(void *data);
    /* Takes what is needed out of a newer task with the same `run`, instead of running both. NULL:
     * every task runs by itself. */
    void (*merge)(void *data, void *newer);
    void *data;
};
/* Without fn there is no handle (NULL) and a failure goes to the log. */
struct save *save_start(struct state *s, const char *lane, struct save_task task, save_fn *fn,
                        void *userdata);
/* Whether a task is under way on a lane whose name begins so. */
bool save_any(const struct state *s, const char *lane_prefix);
/* The data of the newest task of a lane that is not over yet, or NULL. */
const void *save_latest(const struct state *s, const char *lane);
