"""What a CA outside the protocol gets: a named error in bounded time, and the certificate in use untouched."""

import os
import re
import time

import pytest
from support import EVERLEAF_RELEASE, measure, read_pair

from fake import pki
from fake.ca import (answer, change, drop, endless, hang, lose_reply, problem, reset_after, slow_drip,
                     with_headers, without_header)

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
KINDS = {"config", "refused", "limited", "transient", "system"}


def assert_clean(result):
    """Nothing but plain text reached the terminal."""
    assert not RAW.search(result.stdout + result.stderr), result


def fails_and_recovers(everleaf, ca, spoil, mend=None, expect_problem=None, within=20):
    """A good certificate, then trouble, then a good one again."""
    everleaf.certificate("www").renew()
    before = pki.sha256(read_pair(everleaf.live()))
    spoil()
    result = everleaf.renew("www", "--force", expect=1)
    assert result.seconds < within, result
    assert_clean(result)
    assert_clean(everleaf.run("status", "www"))
    one = result.one
    error = one["error"]
    assert one["result"] == "failed" and error["text"] and error["kind"] in KINDS, result
    if expect_problem:
        assert error["problem"] == expect_problem, result
    assert pki.sha256(read_pair(everleaf.live())) == before and everleaf.generation() == 1
    ca.faults.clear()
    if mend:
        mend()
    again = everleaf.renew("www", "--force", expect=0)
    assert again.one["result"] == "renewed", again
    assert pki.sha256(read_pair(everleaf.live())) != before
    assert len(ca.accounts) == 1
    return error


def replace(member, value):
    return change(lambda document: {**document, member: value})


def without(*members):
    return change(lambda document: {k: v for k, v in document.items() if k not in members})


def challenges(**members):
    return change(lambda document: {
        **document, "challenges": [{**c, **members} for c in document["challenges"]]})


HTML = answer(200, "<html><body>Welcome to the captive portal</body></html>", "text/html")
DEEP = answer(200, "[" * 200000, "application/json")
ARRAY = answer(200, "[1, 2, 3]", "application/json")

REPLIES = {
    "directory is HTML": ("directory", HTML),
    "directory is an array": ("directory", ARRAY),
    "directory without newOrder": ("directory", without("newOrder")),
    "directory with numbers for URLs": ("directory", replace("newNonce", 17)),
    "directory with an http URL": ("directory", replace("newOrder", "http://127.0.0.1:1/new-order")),
    "directory with a file URL": ("directory", replace("newOrder", "file:///etc/passwd")),
    "directory nested deeply": ("directory", DEEP),
    "directory endless": ("directory", endless()),
    "directory gone": ("directory", answer(404, "no", "text/plain")),
    "nonce without a nonce": ("new-nonce", with_headers(Replay_Nonce="")),
    "nonce outside the alphabet": ("new-nonce", with_headers(Replay_Nonce="not/base64url=!")),
    "order is HTML": ("new-order", HTML),
    "order is empty": ("new-order", answer(201, "")),
    "order without Location": ("new-order", without_header("Location")),
    "order with an http Location": ("new-order", with_headers(Location="http://127.0.0.1:1/order/1")),
    "order with a file Location": ("new-order", with_headers(Location="file:///etc/passwd")),
    "order without authorizations": ("new-order", without("authorizations")),
    "order with an unknown status": ("new-order", replace("status", "splendid")),
    "order with a numeric status": ("new-order", replace("status", 5)),
    "order with an http authorization": (
        "new-order", replace("authorizations", ["http://127.0.0.1:1/authorization/1"])),
    "order with authorizations that are no list": ("new-order", replace("authorizations", {"a": 1})),
    "order with a million authorizations": (
        "new-order", replace("authorizations", ["https://127.0.0.1:1/a"] * 20000)),
    "order with an http finalize": ("new-order", replace("finalize", "http://127.0.0.1:1/finalize/1")),
    "order without finalize": ("new-order", without("finalize")),
    "order endless": ("new-order", endless()),
    "order with huge headers": ("new-order", with_headers(X_Big="a" * 60000, X_Bigger="b" * 60000)),
    "order redirected": ("new-order", answer(307, "", headers={"Location": "https://127.0.0.1:1/x"})),
    "order cut off": ("new-order", reset_after(120)),
    "order reset before the first byte": ("new-order", reset_after(0)),
    "order dropped": ("new-order", drop),
    "order 500 with HTML": ("new-order", answer(500, "<h1>sorry</h1>", "text/html")),
    "order 502 empty": ("new-order", answer(502, "")),
    "authorization is HTML": ("authorization", HTML),
    "authorization without challenges": ("authorization", without("challenges")),
    "authorization with only unknown challenges": ("authorization", challenges(type="magic-01")),
    "authorization with an unknown status": ("authorization", replace("status", "maybe")),
    "challenge with an http URL": ("authorization", challenges(url="http://127.0.0.1:1/challenge")),
    "token with a path": ("authorization", challenges(token="../../../../tmp/everleaf-escape")),
    "token with a slash": ("authorization", challenges(token="abc/def")),
    "token with control characters": ("authorization", challenges(token="abc\x1b[31m\r\nX: y")),
    "token with a NUL": ("authorization", challenges(token="abc\x00def")),
    "token empty": ("authorization", challenges(token="")),
    "token is a number": ("authorization", challenges(token=7)),
    "token very long": ("authorization", challenges(token="a" * 100000)),
    "token with a dot": ("authorization", challenges(token=".")),
    "challenge refused": ("challenge", problem("malformed")),
    "challenge is HTML with 403": ("challenge", answer(403, "<p>no</p>", "text/html")),
    "finalize refused": ("finalize", problem("badCSR")),
    "finalize is HTML": ("finalize", HTML),
    "finalize says invalid": ("finalize", replace("status", "invalid")),
    "finalize with an http certificate": (
        "finalize", replace("certificate", "http://127.0.0.1:1/certificate/1")),
    "certificate empty": ("certificate", answer(200, "", "application/pem-certificate-chain")),
    "certificate is HTML": ("certificate", HTML),
    "certificate endless": (
        "certificate", endless(content_type="application/pem-certificate-chain")),
    "certificate is noise": (
        "certificate", answer(200, os.urandom(3000), "application/pem-certificate-chain")),
    "certificate with a BEGIN line only": (
        "certificate", answer(200, "-----BEGIN CERTIFICATE-----\n", "application/pem-certificate-chain")),
    "certificate of the wrong type": (
        "certificate", answer(200, '{"certificate": true}', "application/json")),
}


@pytest.mark.parametrize("case", REPLIES)
def test_reply(everleaf, ca, case, tmp_path):
    operation, action = REPLIES[case]
    fails_and_recovers(everleaf, ca, lambda: ca.fault(operation, action, times=None))
    assert not (tmp_path / "everleaf-escape").exists()


@pytest.mark.parametrize("operation", ["directory", "new-nonce", "new-order", "authorization", "finalize"])
@pytest.mark.parametrize("action", [hang, slow_drip()], ids=["hangs", "drips"])
def test_stalled_connection(everleaf, ca, operation, action):
    if operation == "new-nonce" and action is not hang:
        action = hang  # asked for by HEAD: there is no body that could drip
    everleaf.config["agent"]["http_timeout"] = "1s"
    fails_and_recovers(everleaf, ca, lambda: ca.fault(operation, action, times=None), within=25)


@pytest.mark.parametrize("token", ["../../escape", "..", "a/b", "/etc/passwd", "a\nb", ""])
def test_token_never_becomes_a_path(make_everleaf, ca, tmp_path, token):
    webroot = tmp_path / "a/b/html"
    webroot.mkdir(parents=True)
    everleaf = make_everleaf().issuer(ca).webroot(webroot).certificate("www")
    ca.validate = False
    ca.fault("authorization", challenges(token=token), times=None)
    before = {p for p in tmp_path.rglob("*") if p.is_file() and "state" not in p.parts}
    assert everleaf.renew(expect=3).one["error"]["text"]
    after = {p for p in tmp_path.rglob("*") if p.is_file() and "state" not in p.parts}
    assert after - before <= {everleaf.file}


# Certificates -----------------------------------------------------------------------------------------


def other_authority():
    return pki.Authority("Somebody Else")


def issue_for_another_key(ca):
    key = pki.new_key()
    return lambda order, csr: [pki.pem(ca.make_leaf(csr, key=key)) + ca.intermediate.pem]


def issue_leaf(**options):
    return lambda ca: lambda order, csr: [pki.pem(ca.make_leaf(csr, **options)) + ca.intermediate.pem]


def issue_text(function):
    """function(leaf PEM, intermediate PEM) -> the file."""
    return lambda ca: lambda order, csr: [function(pki.pem(ca.make_leaf(csr)), ca.intermediate.pem)]


def issue_self_signed(ca):
    def issue(order, csr):
        # The client's key is not ours: signed by another key in the client's own name.
        authority = pki.Authority("www.example.org")
        return [pki.pem(authority.leaf(csr.public_key(), sorted(pki.names_of_csr(csr))))]

    return issue


CERTIFICATES = {
    "another key": issue_for_another_key,
    "other names": issue_leaf(names=["evil.example.net"]),
    "a name too many": issue_leaf(names=["www.example.org", "evil.example.net"]),
    "expired": issue_leaf(not_before=pki.now() - 30 * pki.DAY, lifetime=10 * pki.DAY),
    "not yet valid": issue_leaf(not_before=pki.now() + 30 * pki.DAY),
    "signed by somebody else": issue_leaf(authority=pki.Authority("Somebody Else")),
    "with a broken signature": issue_leaf(signer=pki.new_key()),
    "with an unrelated intermediate": lambda ca: lambda order, csr: [
        pki.pem(ca.make_leaf(csr)) + other_authority().pem],
    "intermediate first": issue_text(lambda leaf, chain: chain + leaf),
    "only the intermediate": issue_text(lambda leaf, chain: chain),
    "the leaf twice": issue_text(lambda leaf, chain: leaf + leaf + chain),
    "with a private key before": issue_text(
        lambda leaf, chain: pki.key_pem(pki.new_key()) + leaf + chain),
    "with a private key behind": issue_text(
        lambda leaf, chain: leaf + chain + pki.key_pem(pki.new_key())),
    "with text before": issue_text(lambda leaf, chain: "Dear customer\n" + leaf + chain),
    "with text between": issue_text(lambda leaf, chain: leaf + "ssl_certificate x;\n" + chain),
    "with escape sequences": issue_text(lambda leaf, chain: leaf + "\x1b]0;owned\x07\n" + chain),
    "with a hundred certificates": issue_text(lambda leaf, chain: leaf + chain * 100),
    "cut in the middle": issue_text(lambda leaf, chain: (leaf + chain)[:-200]),
    "with a damaged base64 line": issue_text(lambda leaf, chain: leaf.replace("MII", "!!!", 1) + chain),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_certificate(everleaf, ca, case):
    def spoil():
        ca.issue = CERTIFICATES[case](ca)

    def mend():
        ca.issue = ca.default_chains

    fails_and_recovers(everleaf, ca, spoil, mend)
    assert len(ca.orders) == 3  # a refused certificate is not asked for again


def test_refused_first_certificate_leaves_nothing_live(everleaf, ca, tmp_path):
    ca.issue = issue_for_another_key(ca)
    out = tmp_path / "out"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out)}])
    result = everleaf.renew(expect=3)
    assert result.one["result"] == "failed" and result.one["new"] is None
    assert not everleaf.live().exists() and not out.exists()
    assert everleaf.run("status", "--json").code == 3


# Text of the CA ---------------------------------------------------------------------------------------


def test_control_characters_of_the_ca_are_escaped(everleaf, ca):
    evil = "\x1b[2J\x1b]0;pwned\x07 \u009b31m \u202egnp.exe \r\nFAKE LOG LINE"
    error = fails_and_recovers(everleaf, ca, lambda: ca.fault(
        "new-order", problem("rejectedIdentifier", 400, evil, subproblems=[
            {"type": "urn:ietf:params:acme:error:caa", "detail": "no\x1b[31m",
             "identifier": {"type": "dns", "value": "www.example.org\x07"}}]), times=None),
        expect_problem="rejectedIdentifier")
    assert not RAW.search(error["text"])
    history = (everleaf.state / "certificates/www/history.jsonl").read_text()
    assert not RAW.search(history)


def test_problem_with_a_nul_is_told_by_its_status(everleaf, ca):
    error = fails_and_recovers(everleaf, ca, lambda: ca.fault(
        "new-order", problem("malformed", 403, "before\x00behind"), times=None))
    assert error["code"] == 403


def test_log_of_the_agent_has_no_control_characters(everleaf, ca):
    ca.fault("new-order", problem("malformed", 400, "bad\x1b[31m\nlevel=fake \u202e"), times=None)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] > 0)
    assert agent.stop() == 0
    assert not RAW.search(agent.log)
    assert not any(line.startswith("level=fake") for line in agent.log.splitlines())


def test_problem_type_with_a_path_is_only_text(everleaf, ca):
    error = fails_and_recovers(everleaf, ca, lambda: ca.fault(
        "new-order", problem("https://evil.example.net/../../x?y", 400), times=None))
    assert "as asked for" in error["text"]


# Bounds -----------------------------------------------------------------------------------------------


def test_endless_body_costs_no_memory(make_everleaf, ca, http_port):
    everleaf = make_everleaf(binary=EVERLEAF_RELEASE).issuer(ca).http_01(http_port).certificate("www")
    ca.fault("new-order", endless(), times=None)
    usage = measure(everleaf, "renew")
    assert usage["code"] == 3 and usage["rss_kib"] < 40000


def test_storm_of_bad_nonces_ends(everleaf, ca):
    def spoil():
        ca.bad_nonces = 10**6

    def mend():
        assert len(ca.calls) < 120
        ca.bad_nonces = 0

    fails_and_recovers(everleaf, ca, spoil, mend, expect_problem="badNonce")


def test_redirect_of_a_post_is_not_followed(everleaf, ca, make_ca):
    other = make_ca(name="other")
    fails_and_recovers(everleaf, ca, lambda: ca.fault(
        "new-order", answer(307, "", headers={"Location": other.base + "/new-order"}), times=None))
    assert other.calls == []


def test_ca_with_an_unknown_certificate_is_refused(everleaf, ca, make_ca):
    everleaf.certificate("www")
    everleaf.config["issuers"]["test"]["ca_file"] = str(make_ca(name="other").ca_file)
    error = everleaf.renew(expect=3).one["error"]
    assert "certificate" in error["text"].lower()
    assert ca.calls == []


def test_system_roots_do_not_know_the_test_ca(everleaf, ca):
    everleaf.certificate("www")
    del everleaf.config["issuers"]["test"]["ca_file"]
    assert everleaf.renew(expect=3).one["error"]["text"]
    assert ca.calls == []


# A CA that is away or refuses service -----------------------------------------------------------------


def test_ca_is_down(everleaf, ca):
    everleaf.certificate("www").renew()
    before = pki.sha256(read_pair(everleaf.live()))
    ca.pause()
    result = everleaf.renew("www", "--force", expect=1)
    assert result.one["error"]["kind"] == "transient" and result.one["next_try"], result
    assert pki.sha256(read_pair(everleaf.live())) == before
    ca.resume()
    assert everleaf.renew("www", "--force").one["result"] == "renewed"


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status,kind", [(429, "rateLimited"), (503, "serverInternal")])
def test_retry_after_is_obeyed(everleaf, ca, status, kind, form):
    wait = 600
    value = str(wait) if form == "seconds" else time.strftime(
        "%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + wait))
    ca.fault("new-order", problem(kind, status, headers={"Retry-After": value}), times=None)
    everleaf.certificate("www")
    result = everleaf.renew(expect=3)
    assert result.one["error"]["kind"] == "limited", result
    retry_at = pki.parse_time(result.one["error"]["retry_at"])
    assert wait - 60 < retry_at - time.time() < wait + 60
    assert pki.parse_time(result.one["next_try"]) >= retry_at
    orders = ca.count("new-order")
    for arguments in (["www"], ["www", "--force"], ["--due"]):
        result = everleaf.renew(*arguments, expect=3)
        assert result.one["result"] == "backoff", result
    assert ca.count("new-order") == orders


@pytest.mark.parametrize("value", [
    "99999999999999999999", "-5", "garbage", "", "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT", "1e9", "0x10", "5, 7"])
def test_absurd_retry_after(everleaf, ca, value):
    ca.fault("new-order", problem("rateLimited", 429, headers={"Retry-After": value}), times=None)
    everleaf.certificate("www")
    result = everleaf.renew(expect=3)
    wait = pki.parse_time(result.one["next_try"]) - time.time()
    assert 0 < wait < 8 * 86400, result


@pytest.mark.parametrize("value", ["0", "-1", "99999999", "garbage", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_absurd_retry_after_while_polling(everleaf, ca, value):
    """Clamped: neither a busy loop nor a wait without end."""
    ca.retry_after = value
    ca.finalize_polls = 1
    ca.authorization_polls = 1
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("authorization") >= 2, what="a first poll")
    if value == "99999999":
        time.sleep(0.5)
        assert ca.count("authorization") < 6
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 5
        return
    agent.wait_for(lambda: everleaf.generation() == 1, what="the certificate")
    assert ca.count("order") + ca.count("authorization") < 20


def test_back_off_is_kept_and_passed_by_name(everleaf, ca):
    ca.validate = "fail"
    everleaf.certificate("www")
    first = everleaf.renew(expect=3).one
    assert first["result"] == "failed" and "as asked for" in first["error"]["text"]
    orders = ca.count("new-order")
    due = everleaf.renew("--due", expect=3).one
    assert due["result"] == "backoff" and due["next_try"] == first["next_try"]
    assert ca.count("new-order") == orders
    status = everleaf.one_status()
    assert status["state"] == "backoff" and status["failures"] == 1 and status["error"]
    assert everleaf.renew("www", expect=3).one["result"] == "failed"
    assert ca.count("new-order") == orders + 1
    ca.validate = True
    assert everleaf.renew("www").one["result"] == "renewed"
    status = everleaf.one_status()
    assert status["failures"] == 0 and status["error"] is None and status["next_try"] is None


def test_one_bad_certificate_does_not_hold_up_the_others(everleaf, ca):
    everleaf.certificate("bad").certificate("good").certificate("better")
    ca.on_call = None
    validate = ca.look_at_challenge
    ca.look_at_challenge = lambda account, authorization: (
        "no" if authorization.identifier == "bad.example.org" else validate(account, authorization))
    results = {r["name"]: r["result"] for r in everleaf.renew(expect=3).json["results"]}
    assert results == {"bad": "failed", "good": "renewed", "better": "renewed"}


# Replies that never arrive ----------------------------------------------------------------------------


def until_renewed(everleaf, *arguments, tries=4):
    for _ in range(tries):
        result = everleaf.renew("www", *arguments, expect=(0, 1, 3))
        if result.one["result"] == "renewed":
            return result
    raise AssertionError(result)


@pytest.mark.parametrize("operation", [
    "directory", "new-nonce", "new-account", "new-order", "authorization", "challenge", "finalize",
    "certificate"])
@pytest.mark.parametrize("action", [lose_reply, reset_after(0), reset_after(150)],
                         ids=["lost", "reset", "cut"])
def test_lost_reply_costs_no_account_and_at_most_one_order(everleaf, ca, operation, action):
    everleaf.certificate("www")
    ca.fault(operation, action)
    until_renewed(everleaf)
    read_pair(everleaf.live())
    assert len(ca.accounts) == 1
    assert len(ca.orders) <= (2 if operation == "new-order" else 1)
    assert len(ca.issued) == 1


def test_lost_reply_to_a_one_shot_external_account(everleaf, ca, tmp_path):
    ca.eab_keys = {"kid-1": b"k" * 32}
    ca.fault("new-account", lambda call, proceed: (proceed(), ca.eab_keys.clear(), None) and
             lose_reply(call, lambda: None))
    (tmp_path / "mac").write_text("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    (tmp_path / "mac").chmod(0o600)
    everleaf.config["issuers"]["test"]["eab"] = {"kid": "kid-1", "hmac": {"file": str(tmp_path / "mac")}}
    everleaf.certificate("www")
    until_renewed(everleaf)
    assert len(ca.accounts) == 1
