/* Between base/schema*.c only. */
#pragma once

#include "base/schema.h"

/* What a field wants, in words: "a duration such as \"30s\"". Caller frees. */
char *schema_kind(const struct field *f);
/* As schema_value, from the text of the preset. */
void schema_preset(const struct field_in *in);
/* FIELD_SECRET. */
void schema_secret(const struct field_in *in);
