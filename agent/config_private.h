/* Reading a configuration, for agent/config*.c only. First all files are read and the names of all
 * sections collected, then the sections become structs one after the other, so that everything that
 * is referred to is known. Nothing stops at an error. */
#pragma once

#include "agent/config.h"
#include "base/map.h"
#include "base/schema.h"

enum section {
    SECTION_ISSUERS,
    SECTION_CHALLENGES,
    SECTION_SERVERS,
    SECTION_CERTIFICATES,
    SECTION_COUNT,
};
extern const char *const section_names[]; /* NULL-terminated, in enum order */

/* One named thing of a section. */
struct entry {
    const struct yaml_node *key, *value;
    void *made; /* the struct of the configuration; set when the section is read */
};

struct reader {
    struct config *config;
    struct problems *problems;
    struct yaml **documents; /* all files; freed with the reader */
    size_t n_documents;
    struct map *sections[SECTION_COUNT]; /* name -> struct entry, in the order written */
    const struct yaml_node **agents;     /* sections `agent` */
    size_t n_agents;
    struct map *files;             /* "device:inode" of files read */
    struct map *paths;             /* what outputs write -> who */
    struct map *implied_servers;   /* name -> struct config_server; owned by config */
    struct solver *implied_solver; /* owned by config */
    bool reported_no_issuer;
    bool incomplete; /* a file could not be read: what is not found may be in it */
};

struct reader *reader_new(struct config *c, struct problems *problems);
void reader_free(struct reader *r);
/* The whole way from a file, or from a document (taken) that stands for one, to the config. */
void reader_read_file(struct reader *r, const char *file);
void reader_take_document(struct reader *r, struct yaml *document);
void reader_finish(struct reader *r);

/* The name may be part of paths, labels and commands, else there is a problem. */
void reader_check_name(struct reader *r, enum section s, const struct entry *e);
/* As schema_nearest, of the names of a section and of more (NULL-terminated; may be NULL). Caller
 * frees. */
char *reader_nearest(const struct reader *r, enum section section, const char *const *more,
                     const char *name);
/* `type` of a challenge, server or output: its text, or NULL and a problem. `fallback`: when
 * absent. */
const char *reader_type(struct reader *r, const struct yaml_node *map, const char *path,
                        const char *fallback);

/* An error about a value as a problem, with its hint. */
void config_add_error(struct problems *p, const struct yaml_node *at, const char *path,
                      const struct err *e);
/* A readable file with certificates, else a problem. */
void config_check_ca_file(struct problems *p, const struct yaml_node *at, const char *path,
                          const char *file);

/* The sections. */
void config_read_agent(struct reader *r);
void config_read_issuers(struct reader *r);
void config_read_challenges(struct reader *r);
void config_read_servers(struct reader *r);
void config_read_certificates(struct reader *r);
/* `prove.certificates` of servers: they are read before certificates are. */
void config_check_endpoints(struct reader *r);

/* http-01 on port 80, made on first use. */
struct solver *config_implied_solver(struct reader *r);
/* The server of that name, or the one that a type of that name implies. NULL: problems at `at`. */
struct config_server *config_find_server(struct reader *r, const char *name,
                                         const struct yaml_node *at, const char *path);
/* The endpoint where a server of this type usually is. */
void config_imply_endpoint(struct config_server *s);

/* Parts of the tables: in->to is the whole struct. */
void config_parse_prove(const struct field_in *in);   /* struct config_server */
void config_parse_outputs(const struct field_in *in); /* struct config_certificate */
void config_outputs_done(void *certificate);
void config_parse_alerts(const struct field_in *in); /* struct config_alerts */
void config_alerts_done(void *alerts);
void config_free_member(void *member); /* a char * */

void config_endpoints_done(struct config_server *s);
void config_issuer_free(struct config_issuer *i);
void config_server_free(struct config_server *s);
void config_certificate_free(struct config_certificate *c);

/* Tables, for the reference. */
extern const struct field config_agent_fields[], config_log_fields[], config_alerts_fields[],
    config_issuer_fields[], config_eab_fields[], config_limits_fields[], config_server_fields[],
    config_endpoint_fields[], config_certificate_fields[], config_key_fields[],
    config_renew_fields[], config_ocsp_fields[];

/* The EVERLEAF_* variables as a document. */
#define ENVIRONMENT_FILE "environment"
struct environment;
struct environment *environment_read(struct problems *problems);
struct yaml *environment_parse(const struct environment *e, struct problems *problems);
/* Problems about lines of the document become problems about variables. */
void environment_explain(const struct environment *e, struct problems *problems);
void environment_free(struct environment *e);
