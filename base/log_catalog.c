/* The identifiers of events in the journal: each has an entry in
 * packaging/systemd/everleaf.catalog, which `journalctl -x` shows. An identifier is never used for
 * another event, and the text of an event never changes. */
#include "base/log_catalog.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

static const struct {
    const char *event, *id;
} known[] = {
    {"ready", "5f44f1ccf5f4165d1018b48e64153207"},
    {"stopping", "9425ed917ad43df8be2841269da43b89"},
    {"the agent cannot start", "bfd937b730b61c4139b3b78b3587515f"},
    {"configuration loaded", "1c0b428e0fcb93168c82060692c01c09"},
    {"configuration not loaded", "5f0d586b328db53132b3474947f9442a"},
    {"renewing", "a3b81036ab581ddd365ee8b1422fae02"},
    {"order placed", "68a96e737928d9925ff85f8d4cce3d05"},
    {"certificate issued", "66d46c80b9402ce8970b9fed0c7dd121"},
    {"certificate proven", "9cc01e88c79adc803623928b4c7ea469"},
    {"certificate deployed", "e945f8f978637345f3a9192bc1248ba2"},
    {"unproven", "cb8c6c848fbf3e2aeee30e4488e7c4c5"},
    {"renewal failed", "1795f736f041e1ffbc7c853d8ab549cd"},
    {"rolling back", "be8bb2b7cdc2a5db792109e82a56db70"},
    {"deployment failed", "9616745c4ae5f1982ff20f1a29980f81"},
    {"certificate revoked", "fd47aae0376e63164fe11b63cb621979"},
    {"staple withdrawn", "63edc55facca99d75b412656204ed0ad"},
    {"cannot listen, trying again", "ac1b43dc3786f958f82e85a80534b3a2"},
    {"alert not delivered, trying again", "1e7aaae2362081426f85ea564809e5c0"},
};

const char *log_message_id(const char *event)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].event, event) == 0)
            return known[i].id;
    }
    return NULL;
}
