"""revoke: replace with a new key, prove, then revoke; or revoke first."""

import subprocess

import pytest
from support import clean_environment, served_sha256, stop_process, wait_for

from fake import pki
from fake.ca import drop, lose_reply, problem
from test_servers import files, script
from test_verbs import agent_or_none, history, served, sha256_of, verb  # noqa: F401


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def issued(everleaf, ca):
    everleaf.certificate("www").renew()
    return everleaf


def key_of(everleaf, generation, name="www"):
    folder = everleaf.state / "certificates" / name / "generations" / f"{generation:06}"
    return (folder / "privkey.pem").read_text()


def order_of(ca):
    """What the CA was asked for that matters here, in its order."""
    return [c.operation for c in ca.calls if c.operation in ("new-order", "revoke")]


def retry_revocation_now(everleaf):
    everleaf.edit_document("schedule", lambda d: d["revocation"].update(next_try="2020-01-01T00:00:00Z"))


@pytest.mark.parametrize("by", ["self", "agent"])
def test_it_is_replaced_and_proven_before_it_is_revoked(served, ca, by):  # noqa: F811
    agent_or_none(served, by)
    old = ca.serials()[-1]
    seen = []
    ca.on_call = lambda call: call.operation == "revoke" and seen.append(served_sha256(served.port))
    result = verb(served, "revoke", "www", "--reason", "superseded")
    assert result.json["schema"] == "everleaf.renew/1" and result.json["by"] == by
    assert result.one["result"] == "renewed" and result.one["proven"] is True
    assert result.one["old"]["serial"].lower().lstrip("0") == old and result.one["old"]["revoked"] is True
    assert result.one["new"]["revoked"] is False and result.one["generation"] == 3
    assert ca.revoked == {old: 4}
    assert seen == [sha256_of(served, 3)]
    assert key_of(served, 2) != key_of(served, 3)
    status = served.one_status()
    assert (status["exit"], status["error"], status["live"]["revoked"]) == (0, None, False)
    events = history(served)
    assert events.index("revoke") < events.index("revoked") and events[-1] == "revoked"
    assert served.renew("--due").one["result"] == "not-due" and len(ca.issued) == 3
    # What is revoked is nothing to go back to.
    refused = verb(served, "rollback", "www", "2", expect=1).one
    assert "is revoked" in refused["error"]["text"]


def test_no_reason_is_sent_unless_there_is_one(issued, ca):
    verb(issued, "revoke", "www")
    assert list(ca.revoked.values()) == [None]


def test_a_key_that_is_used_again_is_not(everleaf, ca):
    ca.allow_key_reuse = True
    everleaf.certificate("www", key={"type": "ecdsa-p256", "reuse": True}).renew()
    everleaf.renew("www", "--force")
    assert key_of(everleaf, 1) == key_of(everleaf, 2)
    verb(everleaf, "revoke", "www")
    assert key_of(everleaf, 3) != key_of(everleaf, 2)


def test_nothing_is_revoked_when_it_cannot_be_replaced(issued, ca):
    ca.fault("new-order", problem("rejectedIdentifier", 403), times=None)
    result = verb(issued, "revoke", "www", expect=1).one
    assert result["result"] == "failed" and result["old"]["revoked"] is False and result["new"] is None
    assert ca.revoked == {} and issued.generation() == 1
    text = issued.run("revoke", "www", expect=1).stdout
    assert "the old certificate is not revoked" in text
    # It follows when it is replaced after all.
    ca.faults.clear()
    assert issued.renew("www").one["result"] == "renewed"
    assert list(ca.revoked) == [ca.serials()[0]] and issued.generation() == 2


def test_nothing_is_revoked_when_the_servers_do_not_take_the_new_one(everleaf, ca, out, make_endpoint, tmp_path):
    everleaf.certificate("www", outputs=[files(out)]).renew()
    endpoint = make_endpoint(out).load()
    everleaf.server("app", type="exec", check="off", reload=[script(tmp_path / "reload", "exit 0\n")],
                    prove=[{"connect": endpoint.connect, "deadline": "1s"}])
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    result = verb(everleaf, "revoke", "www", expect=1).one
    assert result["result"] == "rolled-back" and result["old"]["revoked"] is False
    assert ca.revoked == {} and everleaf.generation() == 1
    # The server is mended: what waits is deployed, then the old one is revoked.
    script(tmp_path / "reload", f"touch {tmp_path}/mended\n")
    process = subprocess.Popen([everleaf.binary, "deploy", "www", "-c", str(everleaf.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    wait_for((tmp_path / "mended").exists, what="the reload")
    endpoint.load()
    assert process.wait(30) == 0
    assert list(ca.revoked) == [ca.serials()[0]] and everleaf.generation() == 2


def test_now_revokes_although_it_cannot_be_replaced(issued, ca):
    ca.fault("new-order", problem("rejectedIdentifier", 403), times=None)
    result = verb(issued, "revoke", "www", "--now", expect=3).one
    assert result["result"] == "failed" and result["old"]["revoked"] is True
    assert list(ca.revoked) == ca.serials()
    status = issued.one_status()
    assert status["exit"] == 3 and status["live"]["revoked"] is True
    assert status["renew"]["reason"] == "revoked"
    ca.faults.clear()
    assert issued.renew("www").one["result"] == "renewed"
    assert issued.one_status()["exit"] == 0 and ca.count("revoke") == 1


@pytest.mark.parametrize("args", [["--now"], ["--reason", "keyCompromise"], ["--reason=key-compromise"]])
def test_key_compromise_and_now_revoke_first(issued, ca, args):
    result = verb(issued, "revoke", "www", *args)
    assert result.one["result"] == "renewed" and result.one["old"]["revoked"] is True
    assert order_of(ca) == ["new-order", "revoke", "new-order"]
    assert list(ca.revoked.values()) == [None if args == ["--now"] else 1]


def test_the_certificates_key_speaks_where_the_account_cannot(issued, ca):
    (account,) = ca.accounts.values()
    account.status = "deactivated"
    result = verb(issued, "revoke", "www", "--reason", "keyCompromise", expect=3).one
    assert list(ca.revoked.values()) == [1] and result["old"]["revoked"] is True
    assert result["result"] == "failed" and len(ca.accounts) == 1


def test_a_certificate_that_is_revoked_already_is_a_success(issued, ca):
    ca.revoked[ca.serials()[0]] = 1
    result = verb(issued, "revoke", "www").one
    assert result["result"] == "renewed" and result["old"]["revoked"] is True


def test_a_lost_reply_is_no_failure(issued, ca):
    ca.fault("revoke", lose_reply)
    assert verb(issued, "revoke", "www").one["result"] == "renewed"
    assert list(ca.revoked) == [ca.serials()[0]] and len(ca.issued) == 2


def test_a_revocation_that_fails_is_tried_again_by_itself(issued, ca):
    ca.fault("revoke", problem("serverInternal", 500), times=None)
    result = verb(issued, "revoke", "www", expect=1).one
    assert result["result"] == "failed" and result["generation"] == 2 and result["next_try"]
    assert result["error"]["step"] == "revoke" and result["old"]["revoked"] is False
    status = issued.one_status()
    assert status["exit"] == 1 and status["error"]["step"] == "revoke" and status["generation"] == 2
    ca.faults.clear()
    assert issued.renew("--due", expect=(0, 1)).one["result"] == "not-due" and ca.revoked == {}
    retry_revocation_now(issued)
    issued.renew("--due")
    assert list(ca.revoked) == [ca.serials()[0]] and len(ca.issued) == 2
    assert issued.one_status()["exit"] == 0


def test_a_reason_that_the_ca_refuses_ends_it(issued, ca):
    ca.fault("revoke", problem("badRevocationReason", 400), times=None)
    result = verb(issued, "revoke", "www", "--reason", "privilegeWithdrawn", expect=1).one
    assert result["result"] == "failed" and result["error"]["problem"] == "badRevocationReason"
    assert issued.document("schedule")["revocation"] is None
    assert issued.one_status()["exit"] == 0 and "revoke-failed" in history(issued)


@pytest.mark.parametrize("at", ["new-order", "revoke"])
@pytest.mark.parametrize("by", ["renew", "agent", "revoke"])
def test_what_was_killed_is_finished(issued, ca, at, by):
    """A hanging CA gives the time to kill; nothing of what was asked for is lost."""
    ca.fault(at, lambda call, proceed: (call.wait_for_peer_to_leave(), drop(call, proceed))[1])
    process = subprocess.Popen([issued.binary, "revoke", "www", "--reason", "superseded", "-c", str(issued.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    wait_for(lambda: order_of(ca)[1:].count(at) == 1, what=at)
    process.kill()
    process.wait()
    assert issued.document("schedule")["revocation"]["reason"] == "superseded" and ca.revoked == {}
    if by == "agent":
        agent = issued.agent()
        agent.wait_for(lambda: ca.revoked)
        agent.wait_for(lambda: "revoked" in history(issued))
    elif by == "revoke":
        verb(issued, "revoke", "www")
    else:
        issued.renew("--due")
    assert ca.revoked == {ca.serials()[0]: 4}
    assert issued.generation() == 2 and len(ca.issued) == 2 and issued.one_status()["exit"] == 0


def test_revocation_is_on_disk_before_the_ca_hears_of_it(issued, ca):
    seen = []
    ca.on_call = lambda call: seen.append((call.operation, (issued.document("schedule") or {}).get("revocation")))
    verb(issued, "revoke", "www", "--now")
    revoke = next(document for operation, document in seen if operation == "revoke")
    assert revoke["generation"] == 1 and revoke["now"] is True
    assert issued.document("schedule")["revoked"] == [revoke["serial"]]


def test_two_at_once_are_one(issued, ca):
    agent_or_none(issued, "agent")
    processes = [subprocess.Popen([issued.binary, "revoke", "www", "-c", str(issued.file)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
                 for _ in range(2)]
    assert [p.wait(60) for p in processes] == [0, 0]
    assert len(ca.revoked) == 1 and len(ca.issued) == 2


@pytest.mark.parametrize("args", [[], ["nosuch"], ["www", "--reason", "boredom"], ["www", "other"]])
def test_wrong_usage(issued, ca, args):
    result = verb(issued, "revoke", *args, expect=2)
    assert result.json["exit"] == 2 and result.json["error"]["kind"] == "config"
    assert ca.count("revoke") == 0


def test_pebble_revokes(make_everleaf, pebble, http_port):
    everleaf = make_everleaf().issuer(pebble)
    everleaf.http_01(http_port).certificate("www").renew()
    first = verb(everleaf, "revoke", "www", "--reason", "keyCompromise").one
    assert first["result"] == "renewed" and first["old"]["revoked"] is True
    second = verb(everleaf, "revoke", "www", "--reason", "superseded").one
    assert second["result"] == "renewed" and second["generation"] == 3
    assert everleaf.one_status()["exit"] == 0


def test_one_run_of_a_timer_does_all_that_is_due(everleaf, ca, out, tmp_path):
    """A revocation that was killed, a deployment whose next try has come, and the metrics of both."""
    broken = script(tmp_path / "reload", "exit 1\n")
    everleaf.certificate("www").certificate("two", outputs=[files(out)]).renew()
    everleaf.server("app", type="exec", check="off", reload=[broken], prove="off")
    everleaf.certificate("two", outputs=[files(out)], servers=["app"])
    assert everleaf.renew("two", "--force", expect=1).one["result"] == "rolled-back"
    ca.fault("new-order", lambda call, proceed: (call.wait_for_peer_to_leave(), drop(call, proceed))[1])
    orders = ca.count("new-order")
    process = subprocess.Popen([everleaf.binary, "revoke", "www", "-c", str(everleaf.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    wait_for(lambda: ca.count("new-order") > orders, what="new-order")
    process.kill()
    process.wait()
    script(tmp_path / "reload", "exit 0\n")
    everleaf.edit_document("deploy", lambda d: d.update(next_try="2020-01-01T00:00:00Z"), "two")
    metrics = tmp_path / "everleaf.prom"
    results = everleaf.renew("--due", "--metrics-file", metrics).json["results"]
    assert {r["name"]: r["result"] for r in results} == {"www": "renewed", "two": "renewed"}
    assert everleaf.generation("two") == 2 and everleaf.generation("www") == 2
    assert len(ca.revoked) == 1 and len(ca.issued) == 4
    assert 'everleaf_renewals_total{result="renewed"} 2' in metrics.read_text()
