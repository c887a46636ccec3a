/* Lines for people: a label and a text, with nothing raw of what came from outside. */
#pragma once

#include <stdio.h>

#include "base/mem.h"

#define PRINT_LABEL_WIDTH 14

void print_escaped(FILE *out, const char *text);
/* "  label         text"; nothing at all when text is NULL. */
void print_line(FILE *out, int indent, const char *label, const char *text);
void print_linef(FILE *out, int indent, const char *label, const char *fmt, ...) PRINTF_LIKE(4, 5);
