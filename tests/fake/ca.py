"""A scripted ACME CA (RFC 8555) for what a well-behaved test CA cannot do.

It is correct and strict by default: whatever a client does that the RFC does not allow is answered as
the RFC says and noted in `violations`, which every test expects to stay empty. Misbehaviour is asked
for per operation:

    ca.fault("finalize", lose_reply)                       # processed, but the answer never arrives
    ca.fault("new-order", problem("rateLimited", 429, headers={"Retry-After": "60"}), times=2)

An action gets the call and a function that carries it out, and returns a Reply or DROP. The operations
are: directory, new-nonce, new-account, account, new-order, order, authorization, challenge, finalize,
certificate, revoke, key-change.
"""

import base64
import email.utils
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import secrets
import socket
import socketserver
import ssl
import struct
import threading
import time
from pathlib import Path

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import NameOID

from fake import pki

URN = "urn:ietf:params:acme:error:"
DROP = object()  # close the connection without an answer


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    if "=" in text:
        raise ValueError("padding")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class Problem(Exception):
    def __init__(self, kind, detail, status=400, headers=None, **members):
        super().__init__(detail)
        self.reply = problem_reply(kind, detail, status, headers, **members)


class Reply:
    """`stream`: instead of a body, chunks that are sent until it ends or the peer goes away."""

    def __init__(self, status=200, body=b"", content_type="application/json", headers=None, stream=None):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.content_type = content_type
        self.headers = dict(headers or {})
        self.stream = stream
        self.cut = None  # send only so many bytes of everything, then reset the connection


def json_reply(document, status=200, headers=None):
    return Reply(status, json.dumps(document), "application/json", headers)


def problem_reply(kind, detail, status=400, headers=None, **members):
    document = {"type": kind if ":" in kind else URN + kind, "detail": detail, "status": status}
    document.update(members)
    return Reply(status, json.dumps(document), "application/problem+json", headers)


# Actions ----------------------------------------------------------------------------------------------


def lose_reply(call, proceed):
    proceed()
    return DROP


def drop(call, proceed):
    return DROP


def problem(kind, status=400, detail="as asked for", headers=None, **members):
    return lambda call, proceed: problem_reply(kind, detail, status, headers, **members)


def answer(status=200, body=b"", content_type="application/json", headers=None):
    return lambda call, proceed: Reply(status, body, content_type, headers)


def change(function):
    """Carries the call out and lets `function` edit the JSON of the answer."""

    def action(call, proceed):
        reply = proceed()
        document = json.loads(reply.body)
        reply.body = json.dumps(function(document) or document).encode()
        return reply

    return action


def with_headers(**headers):
    def action(call, proceed):
        reply = proceed()
        reply.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
        return reply

    return action


def without_header(name):
    def action(call, proceed):
        reply = proceed()
        reply.headers.pop(name, None)
        return reply

    return action


def endless(chunk=b"x" * 65536, content_type="application/json"):
    return lambda call, proceed: Reply(200, content_type=content_type, stream=itertools.repeat(chunk))


def slow_drip(interval=0.2):
    """One byte of a correct answer at a time, for ever."""

    def drip():
        while True:
            yield b" "
            time.sleep(interval)

    return lambda call, proceed: Reply(200, stream=drip())


def hang(call, proceed):
    """Accepts the request and says nothing until the client gives up."""
    call.wait_for_peer_to_leave()
    return DROP


def reset_after(count):
    """The first `count` bytes of the right answer, then a TCP reset."""

    def action(call, proceed):
        reply = proceed()
        reply.cut = count
        return reply

    return action


# The CA -----------------------------------------------------------------------------------------------


class Fault:
    def __init__(self, operation, action, times, after):
        self.operation, self.action, self.times, self.skip = operation, action, times, after
        self.hits = 0


class Call:
    """One request as faults and the log see it."""

    def __init__(self, operation, method, path, headers, connection):
        self.operation, self.method, self.path, self.headers = operation, method, path, headers
        self.payload = None
        self.nonce = None
        self.status = None
        self.given_nonce = None
        self.at = time.monotonic()
        self._connection = connection

    def wait_for_peer_to_leave(self):
        self._connection.settimeout(120)
        try:
            while self._connection.recv(4096):
                pass
        except OSError:
            pass

    def __repr__(self):
        return f"{self.method} {self.path} ({self.operation}) -> {self.status}"


class Account:
    def __init__(self, number, jwk, contact):
        self.number, self.jwk, self.contact, self.status = number, jwk, contact, "valid"


class Authorization:
    def __init__(self, number, identifier, wildcard):
        self.number, self.identifier, self.wildcard = number, identifier, wildcard
        self.status = "pending"
        self.token = b64(secrets.token_bytes(24))
        self.challenge_status = "pending"
        self.error = None
        self.polls = 0


class Order:
    def __init__(self, number, account, names, authorizations, profile):
        self.number, self.account, self.names = number, account, names
        self.authorizations, self.profile = authorizations, profile
        self.status = "pending"
        self.error = None
        self.csr = None
        self.chains = None  # list of PEM texts, the default first
        self.polls = 0


class FakeCA:
    def __init__(self, folder, http_port=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.http_port = http_port  # where http-01 is validated; None: everything is valid

        # Behaviour
        self.eab_keys = None  # {kid: MAC key}: external accounts are required
        self.profiles = None  # {name: description}
        self.terms = "https://ca.test/terms/1"
        self.reuse_authorizations = False  # for later orders of the same account
        self.finalize_polls = 0  # how many polls an order stays "processing" after finalize
        self.authorization_polls = 0  # how many polls an authorization stays "pending" when validated
        self.validate = True  # False: challenges are never looked at; "fail": they all fail
        self.processing_forever = False
        self.retry_after = None  # value of the header on orders and authorizations
        self.extra_challenges = []
        self.bad_nonces = 0  # how many good nonces are refused from now on
        self.lifetime = 90 * pki.DAY
        self.not_before = None
        self.alternate_roots = []  # names of further roots, each making an alternate chain
        self.issue = self.default_chains  # (order, csr) -> list of PEM texts
        self.on_call = None  # (call) for a look at everything

        # What happened
        self.accounts, self.orders, self.authorizations = {}, {}, {}
        self.issued = []  # (order, leaf) of each certificate made
        self.revoked = {}  # reason (None: not given) by serial as in serials()
        self.calls, self.violations = [], []
        self.faults = []

        self._lock = threading.RLock()
        self._nonces = set()
        self._numbers = itertools.count(1)
        self.root = pki.Authority("Fake Root A")
        self.intermediate = pki.Authority("Fake Intermediate", self.root)
        tls = pki.Authority("Fake TLS Root")
        cert, key, _ = pki.write_server_pair(tls, self.folder, ["localhost", "127.0.0.1"], "ca-tls")
        self.ca_file = self.folder / "ca-tls-root.pem"
        self.ca_file.write_text(tls.pem)
        self.root_file = self.folder / "root.pem"
        self.root_file.write_text(self.root.pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        self.base = f"https://127.0.0.1:{self.port}"
        self.directory = self.base + "/directory"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    # For tests

    def fault(self, operation, action, times=1, after=0):
        """The next `times` calls (None: all) of the operation, after letting `after` of them pass."""
        fault = Fault(operation, action, times, after)
        with self._lock:
            self.faults.append(fault)
        return fault

    def count(self, operation):
        with self._lock:
            return sum(call.operation == operation for call in self.calls)

    def pause(self):
        """Nobody answers on the port until resume()."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._thread.join()

    def resume(self):
        self._server = _Server(self, self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close_connections(self):
        self._server.close_connections()

    def close(self):
        self.pause()

    def serials(self):
        return [f"{leaf.serial_number:x}" for _, leaf in self.issued]

    def make_leaf(self, csr, names=None, key=None, authority=None, **options):
        """A leaf as the CSR asks, except for what is given."""
        names = names or sorted(pki.names_of_csr(csr))
        options.setdefault("lifetime", self.lifetime)
        options.setdefault("not_before", self.not_before)
        return (authority or self.intermediate).leaf(
            (key or csr).public_key(), names, **options
        )

    def default_chains(self, order, csr):
        leaf = self.make_leaf(csr)
        chains = [pki.pem(leaf) + self.intermediate.pem]
        for name in self.alternate_roots:
            cross = pki.Authority("Fake Intermediate", pki.Authority(name), self.intermediate.key)
            chains.append(pki.pem(leaf) + cross.pem)
        return chains

    # Protocol

    def new_nonce(self):
        nonce = b64(secrets.token_bytes(12))
        self._nonces.add(nonce)
        return nonce

    def violation(self, text):
        self.violations.append(text)

    def handle(self, call, body):
        """The correct answer to a request."""
        if not call.headers.get("User-Agent"):
            self.violation(f"no User-Agent on {call.path}")
        if call.headers.get("Replay-Nonce"):
            self.violation("Replay-Nonce in a request")
        if call.operation == "directory":
            return json_reply(self.directory_document())
        if call.operation == "new-nonce":
            return Reply(200 if call.method == "HEAD" else 204)
        if call.operation == "renewal-info" and self.renewal_info:
            return self.on_renewal_info(call)
        if call.operation in ("unknown", "renewal-info"):
            return problem_reply("malformed", "no such resource", 404)
        if call.method != "POST":
            self.violation(f"{call.method} on {call.path}")
            return problem_reply("malformed", "method not allowed", 405)
        account, jwk, payload = self.verify(call, body)
        call.payload = payload
        number = int(call.path.split("/")[2]) if call.path.count("/") > 1 else 0
        if call.operation == "new-account":
            return self.on_new_account(call, jwk, payload)
        if call.operation == "new-order":
            return self.on_new_order(account, payload)
        if call.operation == "account":
            return self.on_account(account, number, payload)
        if call.operation == "revoke":
            return self.on_revoke(account, jwk, payload)
        if call.operation == "key-change":
            return self.on_key_change(call, account, payload)
        if call.operation in ("order", "finalize", "certificate"):
            order = self.orders.get(number)
            if not order or order.account is not account:
                raise Problem("malformed", "no such order", 404)
            return {"order": self.on_order, "finalize": self.on_finalize,
                    "certificate": self.on_certificate}[call.operation](call, order, payload)
        authorization = self.authorizations.get(number)
        if not authorization:
            raise Problem("malformed", "no such authorization", 404)
        if call.operation == "challenge":
            return self.on_challenge(account, authorization, payload)
        return self.on_authorization(authorization, payload)

    def directory_document(self):
        meta = {"termsOfService": self.terms, "website": "https://ca.test"}
        if self.eab_keys is not None:
            meta["externalAccountRequired"] = True
        if self.profiles is not None:
            meta["profiles"] = self.profiles
        more = {"renewalInfo": self.base + "/renewal-info"} if self.renewal_info else {}
        return {
            **more,
            "newNonce": self.base + "/new-nonce",
            "newAccount": self.base + "/new-account",
            "newOrder": self.base + "/new-order",
            "revokeCert": self.base + "/revoke",
            "keyChange": self.base + "/key-change",
            "someExtension": self.base + "/extension",
            "meta": meta,
        }

    def verify(self, call, body):
        if call.headers.get("Content-Type") != "application/jose+json":
            self.violation(f"content type {call.headers.get('Content-Type')}")
            raise Problem("malformed", "wrong content type", 415)
        try:
            jws = json.loads(body)
            protected = json.loads(unb64(jws["protected"]))
            signature = unb64(jws["signature"])
            payload = unb64(jws["payload"])
        except (ValueError, KeyError, TypeError) as e:
            self.violation(f"malformed JWS: {e!r}")
            raise Problem("malformed", "not a JWS") from e
        if set(jws) != {"protected", "payload", "signature"}:
            self.violation(f"members of the JWS: {sorted(jws)}")
        if protected.get("url") != self.base + call.path:
            self.violation(f"url {protected.get('url')} sent to {call.path}")
            raise Problem("unauthorized", "wrong url", 401)
        if ("jwk" in protected) == ("kid" in protected):
            self.violation("exactly one of jwk and kid is wanted")
        if ("jwk" in protected) != (call.operation == "new-account") and call.operation != "revoke":
            self.violation(f"jwk or kid is wrong for {call.path}")
        account, jwk = None, protected.get("jwk")
        if jwk is None:
            account = next((a for a in self.accounts.values()
                            if f"{self.base}/account/{a.number}" == protected.get("kid")), None)
            if not account:
                raise Problem("accountDoesNotExist", "unknown account")
            jwk = account.jwk
        signed = (jws["protected"] + "." + jws["payload"]).encode()
        if not verify_signature(jwk, protected.get("alg"), signed, signature):
            self.violation("bad signature")
            raise Problem("malformed", "bad signature")
        call.nonce = protected.get("nonce")
        if call.nonce in self._nonces:
            self._nonces.remove(call.nonce)
            if self.bad_nonces > 0:
                self.bad_nonces -= 1
                raise Problem("badNonce", "as asked for")
        else:
            raise Problem("badNonce", "unknown nonce")
        if account and account.status != "valid":
            raise Problem("unauthorized", "account is " + account.status, 403)
        reads = ("order", "authorization", "certificate", "account")
        if payload == b"":
            if call.operation not in reads:
                self.violation(f"POST-as-GET on {call.operation}")
                raise Problem("malformed", "a payload is wanted")
            return account, jwk, None
        try:
            return account, jwk, json.loads(payload)
        except ValueError as e:
            self.violation("payload is not JSON")
            raise Problem("malformed", "payload is not JSON") from e

    def on_new_account(self, call, jwk, payload):
        key = json.dumps(jwk, sort_keys=True)
        known = next((a for a in self.accounts.values()
                      if json.dumps(a.jwk, sort_keys=True) == key), None)
        if known:
            return self.account_reply(known, 200)
        if payload.get("onlyReturnExisting"):
            raise Problem("accountDoesNotExist", "no account with this key")
        if not payload.get("termsOfServiceAgreed"):
            raise Problem("userActionRequired", "agree to the terms", 403)
        if self.eab_keys is not None:
            self.verify_binding(payload.get("externalAccountBinding"), jwk)
        account = Account(next(self._numbers), jwk, payload.get("contact", []))
        self.accounts[account.number] = account
        return self.account_reply(account, 201)

    def account_reply(self, account, status):
        return json_reply({"status": account.status, "contact": account.contact}, status,
                          {"Location": f"{self.base}/account/{account.number}"})

    def verify_binding(self, binding, jwk):
        if not binding:
            raise Problem("externalAccountRequired", "an external account is required", 403)
        try:
            protected = json.loads(unb64(binding["protected"]))
            payload = json.loads(unb64(binding["payload"]))
            key = self.eab_keys[protected["kid"]]
        except (ValueError, KeyError) as e:
            raise Problem("unauthorized", f"bad external account binding: {e!r}", 401) from e
        signed = (binding["protected"] + "." + binding["payload"]).encode()
        mac = b64(hmac.new(key, signed, hashlib.sha256).digest())
        if mac != binding["signature"]:
            raise Problem("unauthorized", "the MAC of the external account is wrong", 401)
        if protected.get("alg") != "HS256" or "nonce" in protected or payload != jwk or \
                protected.get("url") != self.base + "/new-account":
            self.violation(f"external account binding: {protected}")
            raise Problem("malformed", "bad external account binding")

    def on_account(self, account, number, payload):
        if account.number != number:
            raise Problem("unauthorized", "the account of somebody else", 403)
        if payload is not None and payload.get("status") == "deactivated":
            account.status = "deactivated"
        elif payload is not None:
            account.contact = payload.get("contact", account.contact)
        return json_reply({"status": account.status, "contact": account.contact})

    def on_key_change(self, call, account, payload):
        try:
            protected = json.loads(unb64(payload["protected"]))
            inner = json.loads(unb64(payload["payload"]))
            signed = (payload["protected"] + "." + payload["payload"]).encode()
            good = verify_signature(protected["jwk"], protected["alg"], signed, unb64(payload["signature"]))
        except (ValueError, KeyError, TypeError) as e:
            self.violation(f"malformed inner JWS: {e!r}")
            raise Problem("malformed", "not a JWS") from e
        if not good or "nonce" in protected or protected.get("url") != self.base + call.path or \
                inner != {"account": f"{self.base}/account/{account.number}", "oldKey": account.jwk}:
            self.violation(f"inner JWS: {protected} {inner}")
            raise Problem("malformed", "bad inner JWS")
        owner = next((a for a in self.accounts.values() if a.jwk == protected["jwk"]), None)
        if owner:
            raise Problem("conflict", "the key is in use", 409,
                          {"Location": f"{self.base}/account/{owner.number}"})
        account.jwk = protected["jwk"]
        return json_reply({"status": account.status, "contact": account.contact})

    def on_revoke(self, account, jwk, payload):
        der = unb64(payload["certificate"])
        order, leaf = next(((o, c) for o, c in self.issued
                            if c.public_bytes(serialization.Encoding.DER) == der), (None, None))
        if not leaf:
            raise Problem("malformed", "not one of ours", 404)
        if order.account is not account and jwk_numbers(jwk) != leaf.public_key().public_numbers():
            raise Problem("unauthorized", "neither the account nor the key of the certificate", 403)
        serial = f"{leaf.serial_number:x}"
        if serial in self.revoked:
            raise Problem("alreadyRevoked", "it is revoked already")
        reason = payload.get("reason")
        if reason not in (None, 1, 3, 4, 5, 9):
            raise Problem("badRevocationReason", f"reason {reason}")
        self.revoked[serial] = reason
        return Reply(200)

    def on_new_order(self, account, payload):
        names = [i["value"] for i in payload.get("identifiers", [])]
        kinds = {i["type"] for i in payload.get("identifiers", [])}
        if not names or not kinds <= {"dns", "ip"} or len(set(names)) != len(names):
            self.violation(f"identifiers {payload.get('identifiers')}")
            raise Problem("malformed", "bad identifiers")
        profile = payload.get("profile")
        if profile is not None and profile not in (self.profiles or {}):
            raise Problem("invalidProfile", f"no profile {profile}")
        authorizations = []
        for name in names:
            authorization = None
            if self.reuse_authorizations:
                authorization = next((a for a in self.authorizations.values()
                                      if a.identifier == name and a.status == "valid"), None)
            if not authorization:
                wildcard = name.startswith("*.")
                authorization = Authorization(next(self._numbers),
                                              name[2:] if wildcard else name, wildcard)
                self.authorizations[authorization.number] = authorization
            authorizations.append(authorization)
        order = Order(next(self._numbers), account, names, authorizations, profile)
        self.orders[order.number] = order
        self.refresh(order)
        return self.order_reply(order, 201, {"Location": f"{self.base}/order/{order.number}"})

    def refresh(self, order):
        states = {a.status for a in order.authorizations}
        if order.status == "pending" and states == {"valid"}:
            order.status = "ready"
        elif order.status == "pending" and states & {"invalid", "deactivated"}:
            order.status = "invalid"
            order.error = {"type": URN + "unauthorized", "detail": "an authorization failed",
                           "status": 403}

    def order_reply(self, order, status=200, headers=None):
        document = {
            "status": order.status,
            "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 28800)),
            # Any sequence is allowed: reversed, so that nobody relies on it.
            "identifiers": [identifier(n) for n in reversed(order.names)],
            "authorizations": [f"{self.base}/authorization/{a.number}" for a in order.authorizations],
            "finalize": f"{self.base}/finalize/{order.number}",
        }
        if order.error:
            document["error"] = order.error
        if order.status == "valid":
            document["certificate"] = f"{self.base}/certificate/{order.number}"
        headers = dict(headers or {})
        if self.retry_after is not None and order.status == "processing":
            headers["Retry-After"] = str(self.retry_after)
        return json_reply(document, status, headers)

    # A function of the certID that gives (start, end) in seconds from now, or None: no ARI.
    renewal_info = None
    explanation = None

    def on_renewal_info(self, call):
        start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))
                      for offset in self.renewal_info(call.path.split("/")[2]))
        window = {"suggestedWindow": {"start": start, "end": end}}
        if self.explanation:
            window["explanationURL"] = self.explanation
        return json_reply(window, 200, {"Retry-After": str(self.renewal_info_retry)})

    renewal_info_retry = 21600
    clock_offset = 0  # of its Date, in seconds

    def on_order(self, call, order, payload):
        if payload is not None:
            self.violation("a payload on an order")
        self.refresh(order)
        if order.status == "processing":
            order.polls += 1
            if order.polls >= self.finalize_polls and not self.processing_forever:
                self.make_certificate(order)
        return self.order_reply(order)

    def on_authorization(self, authorization, payload):
        if payload is not None:
            if payload != {"status": "deactivated"}:
                self.violation(f"payload on an authorization: {payload}")
                raise Problem("malformed", "only deactivation is possible")
            authorization.status = "deactivated"
        elif authorization.challenge_status == "valid":
            authorization.polls += 1
            if authorization.polls > self.authorization_polls and authorization.status == "pending":
                authorization.status = "valid"
        challenge = {
            "type": "http-01",
            "url": f"{self.base}/challenge/{authorization.number}",
            "status": authorization.challenge_status,
            "token": authorization.token,
        }
        if authorization.error:
            challenge["error"] = authorization.error
        document = {
            "identifier": identifier(authorization.identifier),
            "status": authorization.status,
            "expires": "2099-01-01T00:00:00Z",
            "challenges": self.extra_challenges + [challenge],
        }
        if authorization.wildcard:
            document["wildcard"] = True
        headers = {}
        if self.retry_after is not None and authorization.status == "pending":
            headers["Retry-After"] = str(self.retry_after)
        return json_reply(document, 200, headers)

    def on_challenge(self, account, authorization, payload):
        if payload != {}:
            self.violation(f"payload on a challenge: {payload}")
            raise Problem("malformed", "the payload must be {}")
        if authorization.challenge_status == "pending":
            authorization.challenge_status = "processing"
            if self.validate:
                threading.Thread(target=self.do_validate, args=(account, authorization),
                                 daemon=True).start()
        return json_reply({
            "type": "http-01",
            "url": f"{self.base}/challenge/{authorization.number}",
            "status": authorization.challenge_status,
            "token": authorization.token,
        }, 200, {"Link": f'<{self.base}/authorization/{authorization.number}>;rel="up"'})

    def do_validate(self, account, authorization):
        error = None
        if self.validate == "fail":
            error = "as asked for"
        elif self.http_port:
            error = self.look_at_challenge(account, authorization)
        with self._lock:
            if authorization.status != "pending":
                return
            if error:
                authorization.challenge_status = authorization.status = "invalid"
                authorization.error = {"type": URN + "unauthorized", "detail": error, "status": 403}
            else:
                authorization.challenge_status = "valid"
                if self.authorization_polls == 0:
                    authorization.status = "valid"

    def look_at_challenge(self, account, authorization):
        path = "/.well-known/acme-challenge/" + authorization.token
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": authorization.identifier})
            response = connection.getresponse()
            body = response.read(4096).decode("ascii", "replace").rstrip()
        except (OSError, http.client.HTTPException) as e:
            return f"fetching {path}: {e!r}"
        finally:
            connection.close()
        wanted = authorization.token + "." + thumbprint(account.jwk)
        return None if body == wanted else f"status {response.status}, wrong body"

    def on_finalize(self, call, order, payload):
        self.refresh(order)
        if order.status != "ready":
            raise Problem("orderNotReady", "the order is " + order.status, 403)
        try:
            csr = x509.load_der_x509_csr(unb64(payload["csr"]))
        except (ValueError, KeyError, TypeError) as e:
            raise Problem("badCSR", f"unreadable CSR: {e!r}") from e
        if pki.names_of_csr(csr) != set(order.names):
            self.violation(f"CSR for {pki.names_of_csr(csr)}")
            raise Problem("badCSR", "the names are not those of the order")
        if csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            self.violation("CSR with a common name")
        for account in self.accounts.values():
            if jwk_numbers(account.jwk) == csr.public_key().public_numbers():
                self.violation("CSR with an account key")
        if any(o.csr and o.csr.public_key().public_numbers() == csr.public_key().public_numbers()
               for o, _ in self.issued) and not self.allow_key_reuse:
            self.violation("the key of an earlier certificate")
        order.csr = csr
        order.status = "processing"
        if self.finalize_polls == 0 and not self.processing_forever:
            self.make_certificate(order)
        return self.order_reply(order)

    allow_key_reuse = False

    def make_certificate(self, order):
        order.chains = self.issue(order, order.csr)
        order.status = "valid"
        leaves = pki.certificates(order.chains[0])
        self.issued.append((order, leaves[0] if leaves else None))

    def on_certificate(self, call, order, payload):
        if payload is not None:
            self.violation("a payload on a certificate")
        if order.status != "valid":
            raise Problem("malformed", "there is no certificate yet", 404)
        parts = call.path.split("/")
        index = int(parts[3]) if len(parts) > 3 else 0
        headers = {}
        if index == 0 and len(order.chains) > 1:
            headers["Link"] = ", ".join(
                f'<{self.base}/certificate/{order.number}/{i}>;rel="alternate"'
                for i in range(1, len(order.chains)))
        return Reply(200, order.chains[index], "application/pem-certificate-chain", headers)

    # Requests

    def answer(self, call, body):
        """Runs faults and the protocol; gives a Reply or DROP."""

        def proceed():
            with self._lock:
                try:
                    return self.handle(call, body)
                except Problem as e:
                    return e.reply

        with self._lock:
            self.calls.append(call)
            if self.on_call:
                self.on_call(call)
            fault = next((f for f in self.faults if f.operation == call.operation and f.times != 0),
                         None)
            if fault and fault.skip > 0:
                fault.skip -= 1
                fault = None
            elif fault:
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
        reply = fault.action(call, proceed) if fault else proceed()
        if reply is not DROP:
            call.status = reply.status
            if call.method == "POST" or call.operation == "new-nonce":
                with self._lock:
                    call.given_nonce = self.new_nonce()
                reply.headers.setdefault("Replay-Nonce", call.given_nonce)
            reply.headers.setdefault("Link", f'<{self.directory}>;rel="index"')
            reply.headers.setdefault("Cache-Control", "no-store")
            reply.headers.setdefault("Date", email.utils.formatdate(time.time() + self.clock_offset, usegmt=True))
        return reply


def identifier(name):
    return {"type": "ip" if ":" in name or name.replace(".", "").isdigit() else "dns", "value": name}


def jwk_key(jwk):
    def number(name):
        return int.from_bytes(unb64(jwk[name]), "big")

    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[jwk["crv"]]
    return ec.EllipticCurvePublicNumbers(number("x"), number("y"), curve).public_key()


def jwk_numbers(jwk):
    return jwk_key(jwk).public_numbers()


def thumbprint(jwk):
    members = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}[jwk["kty"]]
    text = json.dumps({m: jwk[m] for m in members}, separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(text.encode()).digest())


def verify_signature(jwk, algorithm, signed, signature):
    try:
        key = jwk_key(jwk)
        if algorithm == "RS256":
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            return True
        size, digest = {"ES256": (32, hashes.SHA256()), "ES384": (48, hashes.SHA384())}[algorithm]
        if len(signature) != 2 * size:
            return False
        r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
        key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(digest))
        return True
    except (KeyError, ValueError, exceptions.InvalidSignature):
        return False


OPERATIONS = {
    "directory": "directory",
    "new-nonce": "new-nonce",
    "new-account": "new-account",
    "new-order": "new-order",
    "account": "account",
    "order": "order",
    "authorization": "authorization",
    "challenge": "challenge",
    "finalize": "finalize",
    "certificate": "certificate",
    "revoke": "revoke",
    "key-change": "key-change",
    "renewal-info": "renewal-info",
}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def setup(self):
        self.request.settimeout(20)
        self.request = self.server.ca._context.wrap_socket(self.request, server_side=True)
        self.server.connections.add(self.request)
        super().setup()

    def finish(self):
        self.server.connections.discard(self.request)
        try:
            super().finish()
        except OSError:
            pass
        self.request.close()

    def log_message(self, *args):
        pass

    def dispatch(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        operation = OPERATIONS.get(self.path.split("/")[1], "unknown")
        call = Call(operation, self.command, self.path, self.headers, self.request)
        self.send(self.server.ca.answer(call, body))

    do_GET = do_HEAD = do_POST = dispatch

    def send(self, reply):
        if reply is DROP:
            self.close_connection = True
            return
        head = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Odd')}"]
        headers = dict(reply.headers)
        if reply.content_type and (reply.body or reply.stream):
            headers["Content-Type"] = reply.content_type
        if reply.stream is not None:
            headers["Connection"] = "close"
        elif reply.status != 204:
            headers["Content-Length"] = str(len(reply.body))
        head += [f"{name}: {value}" for name, value in headers.items()]
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if self.command != "HEAD":
            data += reply.body
        if reply.cut is not None:
            self.cut(data[: reply.cut])
            return
        try:
            self.wfile.write(data)
            for chunk in reply.stream or ():
                self.wfile.write(chunk)
        except OSError:
            self.close_connection = True
        if reply.stream is not None:
            self.close_connection = True

    def cut(self, data):
        """A reset at once after these bytes: no close_notify, unsent data thrown away by the peer."""
        self.close_connection = True
        try:
            if data:
                self.wfile.write(data)
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, ca, port=0):
        self.ca = ca
        self.connections = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look the host name up

    def close_connections(self):
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def shutdown_request(self, request):
        self.close_request(request)  # a shutdown() first would turn a reset into a normal end

    def handle_error(self, request, client_address):
        pass  # clients that go away in the middle are part of the tests
