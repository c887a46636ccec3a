/* Secrets are named in the configuration, never written into it. They are read once, at load. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/schema_private.h"

#define SECRET_MAX (64 * 1024)

static void keep_secret(const struct field_in *in, const char *data, size_t len)
{
    if (len > 0 && data[len - 1] == '\n')
        len--;
    if (len > 0 && data[len - 1] == '\r')
        len--;
    if (len == 0)
        yaml_problem(in->problems, false, in->node, in->path, NULL, "this secret is empty");
    else
        *(struct secret **)in->to = secret_new(data, len);
}

/* `value`: the node to point at. */
static void read_secret_file(const struct field_in *in, const struct yaml_node *value,
                             const char *path)
{
    auto_buf struct buf data;
    auto_err struct err *e = NULL;
    struct stat st;

    buf_init(&data, SECRET_MAX);
    data.wipe = true;
    /* Symlinks are followed: that is how Kubernetes mounts secrets. */
    if (!file_read(AT_FDCWD, path, SECRET_MAX, true, &data, &e)) {
        yaml_problem(in->problems, false, value, in->path, NULL, "%s", e->text);
        return;
    }
    if (stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)))
        yaml_problem(in->problems, true, value, in->path, NULL,
                     "%s may be %s by every user of this machine: chmod o-rwx %s", path,
                     st.st_mode & S_IWOTH ? "changed" : "read", path);
    keep_secret(in, data.data, data.len);
}

static void secret_from_file(const struct field_in *in, const struct yaml_node *value)
{
    const char *path = yaml_scalar(value);

    if (path[0] != '/')
        yaml_problem(in->problems, false, value, in->path, NULL, "expected an absolute path");
    else
        read_secret_file(in, value, path);
}

static void secret_from_env(const struct field_in *in, const struct yaml_node *value)
{
    const char *name = yaml_scalar(value), *text = getenv(name);

    if (!text)
        yaml_problem(in->problems, false, value, in->path, NULL,
                     "the environment variable %s is not set", name);
    else
        keep_secret(in, text, strlen(text));
}

/* Not set in a shell; closed to ExecReload= by systemd 252. */
static bool sees_credentials(const char *folder)
{
    return folder && (access(folder, X_OK) == 0 || errno != EACCES);
}

static void secret_from_credential(const struct field_in *in, const struct yaml_node *value)
{
    const char *name = yaml_scalar(value), *folder = getenv("CREDENTIALS_DIRECTORY");

    if (strchr(name, '/') || name[0] == '.') {
        yaml_problem(in->problems, false, value, in->path, NULL,
                     "\"%s\" is not the name of a credential", name);
    } else if (in->problems->apart && !sees_credentials(folder)) {
        yaml_problem(in->problems, true, value, in->path, NULL,
                     "the credential %s cannot be seen from here, only by the service", name);
        *(struct secret **)in->to = secret_new("", 0);
    } else if (!folder) {
        yaml_problem(in->problems, false, value, in->path, NULL,
                     "$CREDENTIALS_DIRECTORY is not set: credentials are there only when systemd "
                     "starts the program with LoadCredential=%s:...",
                     name);
    } else {
        auto_free char *path = xasprintf("%s/%s", folder, name);

        read_secret_file(in, value, path);
    }
}

void schema_secret(const struct field_in *in)
{
    static const char *const sources[] = {"file", "env", "credential", NULL};
    const struct yaml_node *key, *value;
    auto_free char *kind = schema_kind(in->field);

    if (yaml_node_type(in->node) == YAML_SCALAR) {
        yaml_problem_hidden(in->problems, in->node, in->path,
                            "a secret is not written into the file: expected %s", kind);
        return;
    }
    if (yaml_node_type(in->node) != YAML_MAP || yaml_count(in->node) != 1) {
        yaml_problem(in->problems, false, in->node, in->path, NULL, "expected %s", kind);
        return;
    }
    value = yaml_pair(in->node, 0, &key);
    if (!yaml_scalar(value) || !*yaml_scalar(value))
        yaml_problem(in->problems, false, value, in->path, NULL, "expected %s", kind);
    else if (strcmp(yaml_key(key), "file") == 0)
        secret_from_file(in, value);
    else if (strcmp(yaml_key(key), "env") == 0)
        secret_from_env(in, value);
    else if (strcmp(yaml_key(key), "credential") == 0)
        secret_from_credential(in, value);
    else
        yaml_problem(in->problems, false, key, in->path, schema_nearest(yaml_key(key), sources),
                     "unknown key \"%s\": expected %s", yaml_key(key), kind);
}
