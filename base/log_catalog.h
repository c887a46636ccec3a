/* MESSAGE_ID of the events that the journal's catalogue explains. Belongs to log_line.c. */
#pragma once

/* 32 hexadecimal digits; NULL: an event without an entry. */
const char *log_message_id(const char *event);
