#include "acme/jws.h"

#include <string.h>

#include "base/enc.h"
#include "pki/key.h"

char *jws_header_kid(const char *alg, const char *kid)
{
    return xasprintf("{\"alg\":\"%s\",\"kid\":\"%s\"", alg, kid);
}

char *jws_header_jwk(const char *alg, const char *jwk)
{
    return xasprintf("{\"alg\":\"%s\",\"jwk\":%s", alg, jwk);
}

char *jws_signing_input(const char *header, const char *nonce, const char *url, const char *payload)
{
    auto_free char *text =
        nonce ? xasprintf("%s,\"nonce\":\"%s\",\"url\":\"%s\"}", header, nonce, url)
              : xasprintf("%s,\"url\":\"%s\"}", header, url);
    auto_free char *encoded = enc_base64url(text, strlen(text));

    return xasprintf("%s.%s", encoded, payload);
}

char *jws_body(const char *signing_input, const unsigned char *signature, size_t len)
{
    auto_free char *encoded = enc_base64url(signature, len);
    const char *dot = strchr(signing_input, '.');

    return xasprintf("{\"protected\":\"%.*s\",\"payload\":\"%s\",\"signature\":\"%s\"}",
                     (int)(dot - signing_input), signing_input, dot + 1, encoded);
}

json_t *jws_external_account(const struct secret *hmac, const char *kid, const char *url,
                             const char *jwk)
{
    auto_json json_t *id = json_object(); /* the key id is the CA's text: it may need escaping */
    json_put_str(id, "kid", kid);
    auto_free char *kid_member = json_compact(id); /* {"kid":"..."} */
    kid_member[strlen(kid_member) - 1] = '\0';

    auto_free char *header = xasprintf("{\"alg\":\"HS256\",%s", kid_member + 1);
    auto_free char *payload = enc_base64url(jwk, strlen(jwk));
    auto_free char *input = jws_signing_input(header, NULL, url, payload);
    unsigned char mac[32];

    hmac_sha256(hmac, input, strlen(input), mac);
    auto_free char *signature = enc_base64url(mac, sizeof(mac));
    json_t *jws = json_object();
    json_put(jws, "protected", json_stringn(input, strcspn(input, ".")));
    json_put_str(jws, "payload", payload);
    json_put_str(jws, "signature", signature);
    return jws;
}
