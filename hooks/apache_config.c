/* Line by line, as httpd reads it: a continued line ends in a backslash, names do not know case, a
 * value may be quoted. The n-th SSLCertificateFile of a section goes with its n-th
 * SSLCertificateKeyFile, or holds the key itself (ssl_engine_init.c). */
#include "hooks/apache_config.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/map.h"

#define FILE_MAX  (1024 * 1024)
#define FILES_MAX 2000
#define DEPTH_MAX 16
#define LINE_MAX  8192
#define WORDS_MAX 8

struct section {
    struct strv certs, keys;
};

struct reading {
    struct strv *pairs;
    char *root; /* of relative paths */
    struct map *defines;
    struct section global, host;
    bool in_host;
    unsigned skipping; /* depth inside of a section that is left out */
    unsigned files, depth;
};

static void read_file(struct reading *r, const char *path);

/* Lines ---------------------------------------------------------------------------------------- */

/* ${NAME} replaced; NULL when one is not known (of the environment, mostly). */
static char *expand(const struct reading *r, const char *text)
{
    auto_buf struct buf b;

    buf_init(&b, LINE_MAX);
    for (const char *at = text; *at;) {
        const char *end = at[0] == '$' && at[1] == '{' ? strchr(at, '}') : NULL;
        if (!end) {
            buf_add(&b, at++, 1);
            continue;
        }
        auto_free char *name = xstrndup(at + 2, (size_t)(end - at - 2));
        const char *value = map_get(r->defines, name);
        if (!value)
            return NULL;
        buf_add_str(&b, value);
        at = end + 1;
    }
    return b.overflow ? NULL : buf_take(&b);
}

/* Splits in place; gives the number of words. */
static size_t split(char *line, char *words[WORDS_MAX])
{
    size_t n = 0;

    for (char *at = line; n < WORDS_MAX;) {
        at += strspn(at, " \t\r");
        if (*at == '\0')
            break;
        char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
        words[n++] = at;
        at += quote ? strcspn(at, quote == '"' ? "\"" : "'") : strcspn(at, " \t\r");
        if (*at)
            *at++ = '\0';
    }
    return n;
}

static char *absolute(const struct reading *r, const char *path)
{
    return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", r->root, path);
}

/* Sections ------------------------------------------------------------------------------------- */

static void section_end(struct reading *r, struct section *s)
{
    for (size_t i = 0; i < s->certs.n; i++) {
        strv_add(r->pairs, s->certs.items[i]);
        strv_add(r->pairs, i < s->keys.n ? s->keys.items[i] : s->certs.items[i]);
    }
    strv_done(&s->certs);
    strv_done(&s->keys);
}

static bool is_left_out(const char *name)
{
    static const char *const names[] = {"<IfDefine", "<IfVersion", "<If", "<IfFile", "<Macro"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* True: the line was one of a section, or is left out. */
static bool read_section(struct reading *r, const char *name)
{
    bool close = strncmp(name, "</", 2) == 0;

    if (r->skipping > 0) {
        r->skipping += name[0] == '<' && !close;
        r->skipping -= close;
        return true;
    }
    if (is_left_out(name)) {
        r->skipping = 1;
    } else if (strcasecmp(name, "<VirtualHost") == 0) {
        r->in_host = true;
    } else if (strncasecmp(name, "</VirtualHost", 13) == 0) {
        section_end(r, &r->host);
        r->in_host = false;
    }
    return name[0] == '<';
}

/* Directives ----------------------------------------------------------------------------------- */

static void include(struct reading *r, const char *pattern)
{
    auto_free char *path = absolute(r, pattern);
    struct stat st;
    glob_t found = {0};

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        set_string(&path, xasprintf("%s/*", path));
    if (glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_file(r, found.gl_pathv[i]);
    }
    globfree(&found);
}

static void read_directive(struct reading *r, const char *name, const char *value,
                           const char *second)
{
    struct section *s = r->in_host ? &r->host : &r->global;

    if (strcasecmp(name, "Include") == 0 || strcasecmp(name, "IncludeOptional") == 0) {
        include(r, value);
    } else if (strcasecmp(name, "ServerRoot") == 0) {
        set_string(&r->root, absolute(r, value));
    } else if (strcasecmp(name, "SSLCertificateFile") == 0) {
        strv_add_owned(&s->certs, absolute(r, value));
    } else if (strcasecmp(name, "SSLCertificateKeyFile") == 0) {
        strv_add_owned(&s->keys, absolute(r, value));
    } else if (strcasecmp(name, "Define") == 0) {
        free(map_get(r->defines, value));
        map_set(r->defines, value, xstrdup(second ? second : ""));
    }
}

static void read_line(struct reading *r, const char *line)
{
    auto_free char *whole = expand(r, line);
    char *words[WORDS_MAX];

    if (!whole) /* a section counts although its arguments are not known */
        whole = xstrdup(line);
    bool known = !strstr(whole, "${");
    size_t n = split(whole, words);
    if (n == 0 || words[0][0] == '#' || read_section(r, words[0]) || n < 2 || !known ||
        *words[1] == '\0')
        return;
    read_directive(r, words[0], words[1], n > 2 ? words[2] : NULL);
}

static void read_text(struct reading *r, const char *text)
{
    auto_buf struct buf line;

    buf_init(&line, LINE_MAX);
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        bool goes_on = len > 0 && at[len - 1] == '\\';
        buf_add(&line, at, len - goes_on);
        at += len + (at[len] == '\n');
        if (goes_on && *at)
            continue;
        read_line(r, line.data);
        buf_clear(&line);
    }
}

static void read_file(struct reading *r, const char *path)
{
    auto_buf struct buf text;

    buf_init(&text, FILE_MAX);
    if (r->depth >= DEPTH_MAX || r->files >= FILES_MAX ||
        !file_read(AT_FDCWD, path, FILE_MAX, true, &text, NULL))
        return;
    r->files++;
    r->depth++;
    read_text(r, text.data);
    r->depth--;
}

void apache_config_pairs(const char *file, struct strv *ret)
{
    const char *slash = strrchr(file, '/');
    struct reading r = {.pairs = ret, .root = xstrndup(file, (size_t)(slash - file))};

    r.defines = map_new();
    read_file(&r, file);
    section_end(&r, &r.host);
    section_end(&r, &r.global);
    map_free(r.defines, free);
    free(r.root);
}
