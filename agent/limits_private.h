/* The inside of the count, for limits*.c only. */
#pragma once

#include "agent/limits.h"
#include "base/map.h"

struct limits_row {
    int64_t full_at_ms;
    int64_t reserved; /* orders under way that may need a token at their end; not on disk */
};

/* A name that the CA refuses for this account until the operator goes to the URL. */
struct limits_pause {
    char *url; /* or NULL */
    time_t at; /* when the CA said so last */
};

struct limits {
    char *directory;
    struct rate rates[LIMITS_N];
    struct map *rows[LIMITS_N]; /* key ("" for the account, a name, ...) -> struct limits_row */
    struct map *paused;         /* name -> struct limits_pause */
    char *account;              /* or NULL */
    int64_t now_ms;             /* the newest `now` seen; 0: none */
    size_t sweep_at;            /* so many rows start the next sweep */
    uint64_t changes;
};

/* Every function begins with it: shifts all rows when the clock went back. Returns now in ms. */
int64_t limits_advance(struct limits *l, time_t now);
/* Drops what is full again. */
void limits_sweep(struct limits *l);
/* NULL: full. */
struct limits_row *limits_find(const struct limits *l, enum limit limit, const char *key);
struct limits_row *limits_need(struct limits *l, enum limit limit, const char *key);

/* limits_paused.c */
void limits_set_pause(struct limits *l, const char *name, const char *url, time_t at);
void limits_end_pause(struct limits *l, const char *name);
void limits_forget_pauses(struct limits *l);
NODISCARD bool limits_check_paused(const struct limits *l, const struct limits_order *o, time_t now,
                                   struct err **err);
