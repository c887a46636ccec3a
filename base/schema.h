/* Field tables: YAML -> struct, with ranges, presets and reference text. The tables are the single
 * source for parsing, `check`, "did you mean", and the reference manual. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/yaml.h"

enum field_type {
    FIELD_END = 0,
    FIELD_STRING,  /* char * */
    FIELD_STRINGS, /* struct strv; a single string is a list of one */
    FIELD_ARGV, /* struct strv; a list of strings (program and arguments), or `off` (stays empty) */
    FIELD_BOOL, /* bool */
    FIELD_INT,  /* int64_t, min..max */
    FIELD_DURATION,  /* int64_t seconds, min..max */
    FIELD_PATH,      /* char *; must be absolute; "~" and ".." components are refused */
    FIELD_FILE_MODE, /* mode_t; "0640" (quoted or not), setuid bits refused */
    FIELD_CHOICE,    /* int; index into `choices` */
    FIELD_SECRET, /* struct secret *; {file: PATH} | {env: NAME} | {credential: NAME}; read at load;
                     one trailing newline removed; a file readable by others is a warning */
    FIELD_CUSTOM, /* `parse` does it */
};

struct field;
/* What a custom parser gets. */
struct field_in {
    const struct field *field;
    const struct yaml_node *node;
    const char *path; /* "servers.nginx.prove" */
    void *to;         /* the struct member */
    void *userdata;   /* as given to schema_read */
    struct problems *problems;
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    bool required;
    int64_t min, max;                         /* FIELD_INT, FIELD_DURATION; max 0: none */
    const char *preset;                       /* default as YAML text, or NULL */
    const char *const *choices;               /* FIELD_CHOICE: NULL-terminated names */
    void (*parse)(const struct field_in *in); /* FIELD_CUSTOM: reports into in->problems */
    void (*done)(void *member);               /* FIELD_CUSTOM: frees what parse made; may be NULL */
    const char *help;
    const char *kind; /* FIELD_CUSTOM: the value in words, for messages and the manual */
};

/* Reads a map into the struct at `to` (zeroed by the caller): presets first, then every pair.
 * Unknown and missing keys (duplicates: base/yaml), wrong types and ranges become problems; goes on
 * after each. `skip` (may be NULL) lists keys handled by the caller (such as "type"). A NULL node
 * reads the presets only. False when it added an error. */
bool schema_read(const struct field *fields, const struct yaml_node *map, const char *path,
                 const char *const *skip, void *to, void *userdata, struct problems *problems);
/* The same for a map whose keys belong to several structs. */
struct schema_part {
    const struct field *fields;
    void *to;
};
bool schema_read_parts(const struct schema_part *parts, size_t n_parts, const struct yaml_node *map,
                       const char *path, const char *const *skip, void *userdata,
                       struct problems *problems);
/* Frees all members (set to NULL/0); the struct itself stays the caller's. */
void schema_done(const struct field *fields, void *to);
/* The closest of `names` (NULL-terminated) to text, or NULL when nothing is near. */
const char *schema_nearest(const char *text, const char *const *names);
/* "certificates.www" + "names" -> "certificates.www.names"; path may be NULL. Caller frees. */
char *schema_path(const char *path, const char *name);
/* Appends the table as rows of markdown: key, value, default, meaning. */
void schema_reference(const struct field *fields, struct buf *out);

/* Reads in->node by the type of in->field into in->to: for custom parsers that hand on a part. */
void schema_value(const struct field_in *in);

/* For custom parsers ---------------------------------------------------------------------------
 * The value of a scalar; a problem and NULL when it is none or empty. Borrowed. */
const char *schema_text(const struct field_in *in, const char *expected);
/* A list of texts, or one text alone; empty texts and anything else are problems. */
void schema_texts(const struct field_in *in, const char *expected, struct strv *ret);
