/* A local OCSP responder (`agent.ocsp_listen`) for servers that insist on asking one: answers with
 * the staples we hold, by CertID, GET and POST; tryLater for everything else. Nothing is fetched
 * because somebody asks, and nothing is signed here. */
#pragma once

#include "agent/manager.h"

struct responder;
/* Listens where the manager's configuration says; a taken port is told and tried again. NULL when
 * it is off. Free it before the manager. */
struct responder *responder_new(struct manager *m);
void responder_free(struct responder *r); /* NULL is fine */
