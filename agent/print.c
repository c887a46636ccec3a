#include "agent/print.h"

#include <string.h>

#include "base/err.h"

void print_escaped(FILE *out, const char *text)
{
    auto_free char *safe = text_escape(text, strlen(text));

    fputs(safe, out);
}

void print_line(FILE *out, int indent, const char *label, const char *text)
{
    int pad = PRINT_LABEL_WIDTH - (int)strlen(label);

    if (!text)
        return;
    fprintf(out, "%*s%s%*s", indent, "", label, pad > 1 ? pad : 1, "");
    print_escaped(out, text);
    fputc('\n', out);
}

void print_linef(FILE *out, int indent, const char *label, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    auto_free char *text = xvasprintf(fmt, ap);
    va_end(ap);
    print_line(out, indent, label, text);
}
