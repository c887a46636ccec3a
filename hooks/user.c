#include "hooks/user.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#define ENTRY_MAX (1024 * 1024)

bool user_find(const char *name, uid_t *ret, struct err **err)
{
    struct passwd entry, *found = NULL;
    int errnum = ERANGE;
    char *end;

    unsigned long number = strtoul(name, &end, 10);
    if (name[0] >= '0' && name[0] <= '9' && *end == '\0' && number < (uid_t)-1) {
        *ret = (uid_t)number;
        return true;
    }
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
    if (errnum == ERANGE)
        return err_set_errno(err, errnum, "looking up the user %s", name);
    return err_set(err, ERR_CONFIG, "there is no user \"%s\" on this machine", name);
}
