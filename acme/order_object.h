/* The CA's order object (RFC 8555 7.1.3): read strictly as far as it is used. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "base/strv.h"

#define ORDER_AUTHORIZATIONS_MAX 1000

enum order_status {
    ORDER_STATUS_PENDING,
    ORDER_STATUS_READY,
    ORDER_STATUS_PROCESSING,
    ORDER_STATUS_VALID,
    ORDER_STATUS_INVALID,
};

struct order_object {
    enum order_status status;
    struct strv authorizations; /* URLs; empty when the CA gave none */
    char *finalize;             /* URL, or NULL: only pending and ready ones need it */
    char *certificate;          /* URL, not NULL when valid */
    struct err *error;          /* of an invalid order, or NULL */
};

NODISCARD bool order_object_read(const json_t *json, struct order_object *ret, struct err **err);
void order_object_done(struct order_object *o);
