/* Names and folders of generations, for the files of store/ only. */
#pragma once

#include "store/generation.h"
#include "store/state_private.h"

#define GENERATION_LINK    "live"
#define GENERATION_INFO    "bundle.json"
#define GENERATION_VERSION 1

/* "000012"; caller frees. */
char *generation_folder_name(int64_t number);
/* 0: no name of a generation. */
int64_t generation_number_of(const char *name);
/* The folder certificates/NAME/generations; -1 when absent (ENOENT) or on error. */
NODISCARD int generation_open_all(struct state *s, const char *certificate, bool create,
                                  struct err **err);
/* As generation_list, on any thread. */
NODISCARD bool generation_numbers(struct state *s, const char *certificate,
                                  struct generation_list *ret, struct err **err);
/* What the live link of the certificate's folder points to; 0: nothing of ours. */
int64_t generation_live_number(int dirfd);
/* Completes what the caller of generation_write knows by what is in the certificate. */
json_t *generation_info_make(const json_t *info, const struct generation *g);
