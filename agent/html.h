/* Text on its way into HTML. Everything that is not written in our source goes through here: names,
 * errors and issuers come from CAs, servers and files. */
#pragma once

#include <time.h>

#include "base/buf.h"

/* As content or inside a quoted attribute: markup escaped, control characters and bidirectional
 * overrides made visible (text_escape). NULL adds nothing. */
void html_text(struct buf *out, const char *text);
/* " NAME=\"VALUE\"" */
void html_attribute(struct buf *out, const char *name, const char *value);
/* A time element: "2026-12-08 14:00", with the seconds for those who point at it. */
void html_time(struct buf *out, time_t t);
/* "in 14d 2h", "3h ago", "now" */
void html_distance(struct buf *out, time_t t, time_t now);
