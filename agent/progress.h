/* What certificates are doing, on standard error: on a terminal one line that changes, else a line
 * each. */
#pragma once

struct progress;
struct progress *progress_new(void);
/* text NULL: nothing any more. Same signature as manager_settings.activity. */
void progress_note(const char *certificate, const char *text, void *progress);
void progress_free(struct progress *p); /* takes the changing line away; NULL is fine */
