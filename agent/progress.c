#include "agent/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"

#define COLUMNS_DEFAULT 80

struct progress {
    bool terminal;
    bool shown;         /* there is a line to take away */
    struct map *active; /* certificate -> what it does (owned text) */
};

struct progress *progress_new(void)
{
    struct progress *p = xcalloc(1, sizeof *p);

    p->terminal = isatty(STDERR_FILENO);
    p->active = map_new();
    return p;
}

static void clear_line(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    clear_line(p);
    fflush(stderr);
    map_free(p->active, free);
    free(p);
}

static size_t columns(void)
{
    struct winsize size = {0};

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_DEFAULT;
    return size.ws_col;
}

/* Cuts UTF-8 to so many characters. */
static void cut(char *text, size_t max)
{
    for (size_t n = 0; *text; text++) {
        if (((unsigned char)*text & 0xc0) != 0x80 && n++ == max) {
            *text = '\0';
            return;
        }
    }
}

static void show_line(struct progress *p, const char *certificate, const char *text)
{
    size_t others = map_count(p->active) - 1;
    auto_free char *line = others > 0 ? xasprintf("[%zu more] %s: %s", others, certificate, text)
                                      : xasprintf("%s: %s", certificate, text);

    cut(line, columns() - 1); /* a full line would wrap, and could not be taken away */
    clear_line(p);
    fputs(line, stderr);
    fflush(stderr);
    p->shown = true;
}

void progress_note(const char *certificate, const char *text, void *progress)
{
    struct progress *p = progress;
    auto_free char *safe = text ? text_escape(text, strlen(text)) : NULL;
    const char *old = map_get(p->active, certificate);

    if (safe && !(old && strcmp(old, safe) == 0) && !p->terminal)
        fprintf(stderr, "%s: %s\n", certificate, safe);
    free(safe ? map_set(p->active, certificate, xstrdup(safe))
              : map_remove(p->active, certificate));
    if (!p->terminal)
        return;
    const struct map_entry *first = map_first(p->active);
    if (safe)
        show_line(p, certificate, safe);
    else if (first)
        show_line(p, map_entry_key(first), map_entry_value(first));
    else
        clear_line(p);
}
