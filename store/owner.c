#include "store/owner.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRY_MAX (1024 * 1024) /* of a line of the databases: groups can be large */

static bool parse_number(const char *text, unsigned *ret)
{
    uint64_t n = 0;

    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9')
            return false;
        n = n * 10 + (unsigned)(*at - '0');
        if (n >= UINT32_MAX) /* -1 means "leave" */
            return false;
    }
    *ret = (unsigned)n;
    return text[0] != '\0';
}

/* errnum 0: no such entry. */
static bool unknown(const char *what, const char *name, int errnum, struct err **err)
{
    if (errnum != 0 && errnum != ENOENT && errnum != ESRCH)
        return err_set_errno(err, errnum, "looking up the %s %s", what, name);
    return err_set(err, ERR_CONFIG, "there is no %s \"%s\" on this machine", what, name);
}

static bool find_user(const char *name, uid_t *ret, struct err **err)
{
    struct passwd entry, *found = NULL;
    int errnum = ERANGE;

    if (parse_number(name, ret))
        return true;
    for (size_t size = 4096; errnum == ERANGE && size <= ENTRY_MAX; size *= 4) {
        auto_free char *text = xmalloc(size);
        do
            errnum = getpwnam_r(name, &entry, text, size, &found);
        while (errnum == EINTR);
        if (errnum == 0 && found) {
            *ret = entry.pw_uid;
            return true;
        }
    }
    return unknown("user", name, errnum, err);
}

static bool find_group(const char *name, gid_t *ret, struct err **err)
{
    struct group entry, *found = NULL;
    int errnum = ERANGE;

    if (parse_number(name, ret))
        return true;
    for (size_t size = 4096; errnum == ERANGE && size <= ENTRY_MAX; size *= 4) {
        auto_free char *text = xmalloc(size);
        do
            errnum = getgrnam_r(name, &entry, text, size, &found);
        while (errnum == EINTR);
        if (errnum == 0 && found) {
            *ret = entry.gr_gid;
            return true;
        }
    }
    return unknown("group", name, errnum, err);
}

bool owner_resolve(const char *user, const char *group, struct file_mode *to, struct err **err)
{
    to->uid = FILE_KEEP_OWNER;
    to->gid = (gid_t)-1;
    return (!user || find_user(user, &to->uid, err)) &&
           (!group || find_group(group, &to->gid, err));
}

static bool may_chown(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & (1u << CAP_CHOWN));
}

static bool is_member(gid_t gid)
{
    int n = getgroups(0, NULL);
    auto_free gid_t *groups = xcalloc(n > 0 ? (size_t)n : 1, sizeof *groups);

    if (gid == getegid())
        return true;
    n = n > 0 ? getgroups(n, groups) : 0;
    for (int i = 0; i < n; i++) {
        if (groups[i] == gid)
            return true;
    }
    return false;
}

static void report(const struct yaml_node *node, const char *key, const char *path, bool warning,
                   const char *text, struct problems *problems)
{
    const struct yaml_node *at = node ? yaml_get(node, key) : NULL;
    auto_free char *whole = path ? xasprintf("%s.%s", path, key) : NULL;

    yaml_problem(problems, warning, at ? at : node, whole, NULL, "%s", text);
}

void owner_check(const char *user, const char *group, const struct yaml_node *node,
                 const char *path, struct problems *problems)
{
    static const char hint[] = "needs root or the capabilities CAP_CHOWN and CAP_FOWNER (drop-in: "
                               "[Service] AmbientCapabilities=CAP_CHOWN CAP_FOWNER)";
    auto_err struct err *no_user = NULL, *no_group = NULL;
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (user && !find_user(user, &uid, &no_user))
        report(node, "owner", path, false, no_user->text, problems);
    else if (uid != geteuid() && !may_chown()) {
        auto_free char *text = xasprintf("giving files to the user %s %s", user, hint);
        report(node, "owner", path, true, text, problems);
    }
    if (group && !find_group(group, &gid, &no_group))
        report(node, "group", path, false, no_group->text, problems);
    else if (!is_member(gid) && !may_chown()) {
        auto_free char *text = xasprintf("giving files to the group %s %s, or membership in it "
                                         "(SupplementaryGroups=)",
                                         group, hint);
        report(node, "group", path, true, text, problems);
    }
}
