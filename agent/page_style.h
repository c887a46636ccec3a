/* The look of the status page (agent/page): one style sheet, light and dark, phone and desktop. */
#pragma once

extern const char *const page_style[]; /* parts; NULL ends them */
