"""Everything the RFC allows a CA to do must work."""

import http.client
import json
import time

import pytest
from support import is_listening, read_pair, wait_for

from fake import pki
from fake.ca import Authorization, answer, change, problem, with_headers


def renewed(everleaf, *arguments):
    assert everleaf.renew("www", *arguments).one["result"] == "renewed"
    return read_pair(everleaf.live())


def test_plain_way_is_short(everleaf, ca):
    """No request that is not needed: the wall time of a renewal is mostly round trips."""
    everleaf.certificate("www")
    renewed(everleaf)
    operations = [call.operation for call in ca.calls]
    assert operations.count("new-nonce") == 1
    assert operations.count("new-account") == operations.count("new-order") == 1
    assert operations.count("challenge") == operations.count("finalize") == 1
    assert operations.count("certificate") == 1
    ca.calls.clear()
    renewed(everleaf, "--force")
    operations = [call.operation for call in ca.calls]
    assert "new-account" not in operations and operations.count("new-nonce") <= 1


def test_bad_nonce_is_retried_with_the_nonce_of_the_error(everleaf, ca):
    everleaf.certificate("www")
    ca.bad_nonces = 3
    renewed(everleaf)
    posts = [call for call in ca.calls if call.method == "POST"]
    for call, following in zip(posts, posts[1:]):
        if call.status == 400:
            assert following.path == call.path and following.nonce == call.given_nonce


def test_seven_bad_nonces_in_a_row(everleaf, ca):
    everleaf.certificate("www")
    ca.bad_nonces = 7
    renewed(everleaf)


def test_everything_is_slow_to_become_valid(everleaf, ca):
    ca.authorization_polls = 4
    ca.finalize_polls = 4
    everleaf.certificate("www", ["www.example.org", "example.org"])
    renewed(everleaf)
    assert len(ca.orders) == 1


def test_polls_follow_retry_after(everleaf, ca):
    ca.finalize_polls = 2
    ca.retry_after = 1
    everleaf.certificate("www")
    renewed(everleaf)
    polls = [call.at for call in ca.calls if call.operation == "order"]
    assert len(polls) <= 4
    assert all(b - a > 0.9 for a, b in zip(polls[-2:], polls[-1:]))


def test_polls_without_retry_after_start_fast(everleaf, ca):
    ca.finalize_polls = 3
    everleaf.certificate("www")
    renewed(everleaf)
    finalize = next(call.at for call in ca.calls if call.operation == "finalize")
    polls = [call.at - finalize for call in ca.calls if call.operation == "order"]
    assert polls[0] < 0.5 and polls[2] < 3


def test_order_is_ready_at_once(everleaf, ca, http_port):
    """Authorizations of earlier orders are still valid."""
    everleaf.certificate("www")
    renewed(everleaf)
    ca.reuse_authorizations = True
    ca.calls.clear()
    renewed(everleaf, "--force")
    assert ca.count("challenge") == 0


def test_some_authorizations_are_valid_already(everleaf, ca):
    everleaf.certificate("www")
    renewed(everleaf)
    ca.reuse_authorizations = True
    everleaf.certificate("www", ["www.example.org", "new.example.org"])
    ca.calls.clear()
    assert pki.names_of(renewed(everleaf)) == {"www.example.org", "new.example.org"}
    assert ca.count("challenge") == 1


def test_authorization_becomes_valid_without_an_answer(everleaf, ca):
    """Between newOrder and our look at it, e.g. through another order."""
    everleaf.certificate("www")

    def all_valid(call):
        if call.operation == "authorization":
            for authorization in ca.authorizations.values():
                authorization.status = authorization.challenge_status = "valid"

    ca.on_call = all_valid
    renewed(everleaf)
    assert ca.count("challenge") == 0


def test_order_is_valid_already_with_a_key_that_is_not_ours(everleaf, ca):
    """newOrder may return an existing order. Its certificate is of no use without its key."""
    everleaf.certificate("www")
    renewed(everleaf)
    old = next(iter(ca.orders.values()))

    def existing(call, proceed):
        return ca.order_reply(old, 201, {"Location": f"{ca.base}/order/{old.number}"})

    ca.fault("new-order", existing, times=1)
    first = everleaf.renew("www", "--force", expect=(0, 1))
    if first.code == 1:
        assert first.one["error"]["text"]
        renewed(everleaf, "--force")
    assert everleaf.generation() == 2
    read_pair(everleaf.live())


def test_unknown_and_tokenless_challenges_are_ignored(everleaf, ca):
    ca.extra_challenges = [
        {"type": "magic-07", "url": "https://127.0.0.1:1/x", "status": "pending", "wand": [1, {"a": None}]},
        {"type": "dns-01", "url": "https://127.0.0.1:1/y", "status": "pending"},
        {"type": "dns-persist-01", "url": "https://127.0.0.1:1/z", "status": "pending",
         "issuer-domain-names": ["ca.test"]},
    ]
    everleaf.certificate("www")
    renewed(everleaf)


def test_unknown_members_are_ignored(everleaf, ca):
    extra = change(lambda d: {"zz": {"deep": [[[1]]]}, "AAA": None, **d, "x\u00e4": "\u00fc" * 2000})
    for operation in ("directory", "new-account", "new-order", "order", "authorization", "challenge",
                      "finalize"):
        ca.fault(operation, extra, times=None)
    everleaf.certificate("www")
    renewed(everleaf)


def test_more_authorizations_than_names(everleaf, ca):
    """And for a parent domain (RFC 9444 allows that)."""
    everleaf.certificate("www", ["www.example.org", "a.example.org"])
    parent = ca.authorizations

    def add(call, proceed):
        reply = proceed()
        extra = Authorization(next(ca._numbers), "example.org", False)
        parent[extra.number] = extra
        order = ca.orders[max(ca.orders)]
        order.authorizations.append(extra)
        document = json.loads(reply.body)
        document["authorizations"].append(f"{ca.base}/authorization/{extra.number}")
        reply.body = json.dumps(document).encode()
        return reply

    ca.fault("new-order", add)
    renewed(everleaf)
    assert ca.count("challenge") == 3


def test_account_exists_already(everleaf, ca, make_everleaf, http_port):
    """The state of the account was lost, its key was kept."""
    everleaf.certificate("www")
    renewed(everleaf)
    (account,) = everleaf.accounts()
    account.unlink()
    renewed(everleaf, "--force")
    assert len(ca.accounts) == 1


def test_account_unknown_to_the_ca_is_registered_again(everleaf, ca):
    everleaf.certificate("www")
    renewed(everleaf)
    ca.accounts.clear()
    renewed(everleaf, "--force")
    assert len(ca.accounts) == 1


def test_deactivated_account_is_told(everleaf, ca):
    everleaf.certificate("www")
    renewed(everleaf)
    for account in ca.accounts.values():
        account.status = "deactivated"
    error = everleaf.renew("www", "--force", expect=1).one["error"]
    assert "deactivated" in error["text"]
    assert len(ca.accounts) == 1


def test_terms_must_be_agreed(everleaf, ca):
    everleaf.certificate("www")
    everleaf.config["issuers"]["test"]["terms_agreed"] = False
    result = everleaf.run("renew", "--json", expect=(2, 3))
    assert "terms" in result.stdout + result.stderr and ca.count("new-account") == 0


def test_changed_terms_are_shown_with_their_link(everleaf, ca):
    everleaf.certificate("www")
    ca.fault("new-order", problem(
        "userActionRequired", 403, "the terms have changed",
        headers={"Link": '<https://ca.test/terms/2>;rel="terms-of-service"'},
        instance="https://ca.test/agree/2"), times=None)
    error = everleaf.renew(expect=3).one["error"]
    assert error["problem"] == "userActionRequired"
    assert "https://ca.test/" in error["text"] + (error["hint"] or "")


@pytest.mark.parametrize("wanted", [None, "Fake Root A", "Fake Root B", "fake root c", "Nobody"])
def test_preferred_chain(everleaf, ca, wanted):
    ca.alternate_roots = ["Fake Root B", "Fake Root C"]
    if wanted:
        everleaf.config["issuers"]["test"]["preferred_chain"] = wanted
    everleaf.certificate("www")
    renewed(everleaf)
    (intermediate,) = pki.certificates((everleaf.live() / "chain.pem").read_text())
    top = intermediate.issuer.rfc4514_string()
    assert top == {"Fake Root B": "CN=Fake Root B", "fake root c": "CN=Fake Root C"}.get(
        wanted, "CN=Fake Root A")
    if wanted is None:
        assert ca.count("certificate") == 1


def test_broken_alternate_chain_does_not_hurt(everleaf, ca):
    ca.alternate_roots = ["Fake Root B"]
    everleaf.config["issuers"]["test"]["preferred_chain"] = "Fake Root B"
    ca.fault("certificate", answer(500, "oops", "text/plain"), times=None, after=1)
    everleaf.certificate("www")
    renewed(everleaf)


def test_profile_that_is_not_offered(everleaf, ca):
    ca.profiles = {"classic": "https://ca.test/classic", "short": "https://ca.test/short"}
    everleaf.config["issuers"]["test"]["profile"] = "tlsserver"
    everleaf.certificate("www")
    renewed(everleaf)
    assert [order.profile for order in ca.orders.values()] == [None]
    everleaf.config["issuers"]["test"]["profile_required"] = True
    error = everleaf.renew("www", "--force", expect=1).one["error"]
    assert "tlsserver" in error["text"]
    assert "classic" in error["text"] + (error["hint"] or "")
    assert len(ca.orders) == 1


def test_profile_that_is_offered(everleaf, ca):
    ca.profiles = {"tlsserver": "https://ca.test/tlsserver"}
    everleaf.config["issuers"]["test"]["profile"] = "tlsserver"
    everleaf.certificate("www")
    renewed(everleaf)
    assert [order.profile for order in ca.orders.values()] == ["tlsserver"]


def test_profile_vanished_since_the_directory_was_read(everleaf, ca):
    ca.profiles = {"tlsserver": "https://ca.test/tlsserver"}
    everleaf.config["issuers"]["test"].update(profile="tlsserver", profile_required=True)
    ca.fault("new-order", problem("invalidProfile"), times=None)
    everleaf.certificate("www")
    error = everleaf.renew(expect=3).one["error"]
    assert error["problem"] == "invalidProfile" or "tlsserver" in error["text"]


def test_key_that_the_ca_does_not_like_is_not_sent_again(everleaf, ca):
    keys = []

    def refuse(call, proceed):
        keys.append(call)
        return problem("badPublicKey", 400, "this key is blocked")(call, proceed)

    everleaf.certificate("www")
    ca.fault("finalize", refuse)
    everleaf.renew(expect=3)
    first = (everleaf.state / "certificates/www").glob("*key*")
    texts = {p.read_text() for p in first}
    renewed(everleaf)
    assert (everleaf.live() / "privkey.pem").read_text() not in texts


def test_subproblems_are_told_by_name(everleaf, ca):
    everleaf.certificate("www", ["www.example.org", "bad.example.org"])
    ca.fault("new-order", problem("malformed", 400, "some names are bad", subproblems=[
        {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "on a list",
         "identifier": {"type": "dns", "value": "bad.example.org"}}]), times=None)
    error = everleaf.renew(expect=3).one["error"]
    for part in ("some names are bad", "bad.example.org", "on a list"):
        assert part in error["text"]


def test_failed_validation_is_told_and_a_new_order_made(everleaf, ca):
    ca.validate = "fail"
    everleaf.certificate("www", ["www.example.org", "example.org"])
    error = everleaf.renew(expect=3).one["error"]
    assert "as asked for" in error["text"] and "example.org" in error["text"]
    ca.validate = True
    renewed(everleaf)
    assert len(ca.orders) == 2


def test_order_turns_invalid_after_finalize(everleaf, ca):
    everleaf.certificate("www")
    ca.processing_forever = True

    def spoil(call):
        if call.operation == "order":
            for order in ca.orders.values():
                if order.status == "processing":
                    order.status = "invalid"
                    order.error = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no",
                                   "status": 403}

    ca.on_call = spoil
    error = everleaf.renew(expect=3).one["error"]
    assert error["problem"] == "caa" and "CAA says no" in error["text"]
    ca.on_call, ca.processing_forever = None, False
    renewed(everleaf)
    assert len(ca.orders) == 2


def test_order_that_is_processed_for_ever_is_resumed(everleaf, ca):
    ca.processing_forever = True
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("order") >= 2, what="polls")
    status = everleaf.one_status()
    assert status["state"] == "ordering" and status["activity"]
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < 5
    polls = ca.count("order")
    ca.processing_forever = False
    renewed(everleaf)
    assert len(ca.orders) == len(ca.issued) == 1 and ca.count("order") > polls


def test_order_the_ca_forgot_is_replaced(everleaf, ca):
    ca.processing_forever = True
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("order") >= 1)
    agent.stop()
    ca.orders.clear()
    ca.processing_forever = False
    for _ in range(2):
        result = everleaf.renew("www", expect=(0, 3))
        if result.code == 0:
            break
    assert result.one["result"] == "renewed"


def test_order_not_ready_at_finalize(everleaf, ca):
    everleaf.certificate("www")
    ca.fault("finalize", problem("orderNotReady", 403), times=1)
    for _ in range(2):
        result = everleaf.renew("www", expect=(0, 3))
        if result.code == 0:
            break
    assert result.one["result"] == "renewed" and len(ca.accounts) == 1


def test_links_in_one_header_and_relative_order(everleaf, ca):
    ca.alternate_roots = ["Fake Root B"]
    everleaf.config["issuers"]["test"]["preferred_chain"] = "Fake Root B"

    def relative(call, proceed):
        reply = proceed()
        if "alternate" in reply.headers.get("Link", ""):
            number = call.path.split("/")[2]
            reply.headers["Link"] = (f'<{ca.directory}>; title="a, b"; rel="index", '
                                     f'</certificate/{number}/1>; rel=alternate')
        return reply

    ca.fault("certificate", relative, times=None)
    everleaf.certificate("www")
    renewed(everleaf)
    (intermediate,) = pki.certificates((everleaf.live() / "chain.pem").read_text())
    assert intermediate.issuer.rfc4514_string() == "CN=Fake Root B"


def test_content_types_with_parameters(everleaf, ca):
    def parametrised(call, proceed):
        reply = proceed()
        if reply.content_type:
            reply.content_type = reply.content_type.title() + "; charset=utf-8"
        return reply

    for operation in ("directory", "new-account", "new-order", "authorization", "finalize", "certificate"):
        ca.fault(operation, parametrised, times=None)
    everleaf.certificate("www")
    renewed(everleaf)


def test_connections_are_closed_after_each_reply(everleaf, ca):
    for operation in ("directory", "new-nonce", "new-account", "new-order", "authorization", "challenge",
                      "finalize", "order", "certificate"):
        ca.fault(operation, with_headers(Connection="close"), times=None)
    everleaf.certificate("www")
    renewed(everleaf)


def test_chain_of_four_and_chain_of_one(everleaf, ca):
    first = pki.Authority("I1", ca.root)
    second = pki.Authority("I2", first)
    third = pki.Authority("I3", second)
    everleaf.certificate("www")
    ca.issue = lambda order, csr: [
        pki.pem(ca.make_leaf(csr, authority=third)) + third.pem + second.pem + first.pem]
    renewed(everleaf)
    assert len(pki.certificates((everleaf.live() / "chain.pem").read_text())) == 3
    ca.issue = lambda order, csr: [pki.pem(ca.make_leaf(csr, authority=ca.root))]
    renewed(everleaf, "--force")
    assert (everleaf.live() / "chain.pem").read_text().strip() == ""


@pytest.mark.parametrize("lifetime", ["1h", "6d", "398d"])
def test_due_by_share_of_the_lifetime(everleaf, ca, lifetime):
    seconds = {"1h": 3600, "6d": 6 * 86400, "398d": 398 * 86400}[lifetime]
    ca.lifetime = pki.DAY * (seconds / 86400)
    ca.not_before = pki.now()
    everleaf.certificate("www")
    leaf = renewed(everleaf)
    at = pki.parse_time(everleaf.one_status()["renew"]["at"])
    left = leaf.not_valid_after.replace(tzinfo=pki.UTC).timestamp() - at
    share = 1 / 2 if seconds < 10 * 86400 else 1 / 3
    assert seconds * share <= left <= seconds * share + min(seconds / 20, 43200) + 2


def test_old_certificate_is_due(everleaf, ca):
    ca.not_before = pki.now() - 70 * pki.DAY
    everleaf.certificate("www")
    renewed(everleaf)
    assert everleaf.one_status()["renew"]["reason"] == "lifetime"
    ca.not_before = None
    assert everleaf.renew("--due").one["result"] == "renewed"
    assert everleaf.renew("--due").one["result"] == "not-due"


def test_renew_before_makes_it_earlier(everleaf, ca):
    everleaf.certificate("www", renew={"before": "60d"})
    leaf = renewed(everleaf)
    at = pki.parse_time(everleaf.one_status()["renew"]["at"])
    left = leaf.not_valid_after.replace(tzinfo=pki.UTC).timestamp() - at
    assert 60 * 86400 <= left <= 61 * 86400


def test_listener_is_open_only_while_a_challenge_is_pending(everleaf, ca, http_port):
    ca.finalize_polls = 10**6
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("order") >= 1, what="finalize")
    wait_for(lambda: not is_listening(http_port), what="the port to be closed")
    ca.finalize_polls = 0
    agent.stop()


def test_wrong_paths_on_the_challenge_port(everleaf, ca, http_port):
    """Answers nothing but the live token."""
    seen = []

    def curious(account, authorization):
        for path in ("/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x",
                     "/.well-known/acme-challenge/../acme-challenge/" + authorization.token,
                     "/.well-known/acme-challenge/" + authorization.token + "x"):
            connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
            connection.request("GET", path)
            response = connection.getresponse()
            seen.append((path, response.status, response.read()))
            connection.close()
        return original(account, authorization)

    original = ca.look_at_challenge
    ca.look_at_challenge = curious
    everleaf.certificate("www")
    renewed(everleaf)
    assert len(seen) == 5 and all(status == 404 for _, status, _ in seen), seen
    assert all(len(path) < 3 or path.encode() not in body for path, _, body in seen), "reflection"
