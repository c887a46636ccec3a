"""account show, update, rollover, deactivate: with and without a running agent."""

import json
import os
import stat
import subprocess
import threading

import pytest
from support import clean_environment, wait_for

from fake.ca import drop, lose_reply, problem, thumbprint
from test_verbs import agent_or_none, verb


@pytest.fixture
def issued(everleaf, ca):
    everleaf.config["issuers"]["test"]["contact"] = "ops@example.org"
    everleaf.certificate("www").renew()
    return everleaf


@pytest.fixture(params=["self", "agent"])
def by(request, issued):
    agent_or_none(issued, request.param)
    return request.param


def account_folder(everleaf):
    (file,) = everleaf.accounts()
    return file.parent


def key_of(everleaf):
    return (account_folder(everleaf) / "key.pem").read_text()


def is_pending(everleaf):
    return (account_folder(everleaf) / "key-next.pem").exists()


def only_account(ca):
    (account,) = ca.accounts.values()
    return account


def test_show(issued, ca, by):
    result = verb(issued, "account", "show").json
    account = only_account(ca)
    assert result["schema"] == "everleaf.account/1" and result["exit"] == 0 and result["by"] == by
    assert (result["issuer"], result["directory"]) == ("test", ca.directory)
    assert result["account"] == f"{ca.base}/account/{account.number}" and result["status"] == "valid"
    assert result["contact"] == ["mailto:ops@example.org"]
    assert result["key"] == {"type": "ecdsa-p256", "thumbprint": thumbprint(account.jwk)}
    assert result["error"] is None
    text = issued.run("account", "show", "test").stdout
    assert "valid" in text and "mailto:ops@example.org" in text


def test_show_before_there_is_an_account(everleaf, ca):
    everleaf.certificate("www")
    result = verb(everleaf, "account", "show", expect=1).json
    assert "no account yet" in result["error"]["text"] and ca.calls == []
    assert list((everleaf.state / "accounts").iterdir()) == []


def test_update_makes_the_contacts_those_of_the_configuration(issued, ca, by):
    issued.config["issuers"]["test"]["contact"] = ["a@example.org", "b@example.org"]
    issued.write()
    if by == "agent":
        issued.agents[-1].hangup()
        wait_for(lambda: issued.agents[-1].log.count("configuration loaded") > 0, what="the reload")
    result = verb(issued, "account", "update").json
    assert result["contact"] == only_account(ca).contact == ["mailto:a@example.org", "mailto:b@example.org"]
    assert json.loads((account_folder(issued) / "account.json").read_text())["contact"] == result["contact"]


# rollover ---------------------------------------------------------------------------------------------


def test_rollover_changes_the_key_and_goes_on_with_it(issued, ca, by):
    before = key_of(issued)
    result = verb(issued, "account", "rollover").json
    assert result["exit"] == 0 and result["by"] == by and result["status"] == "valid"
    assert result["key"]["thumbprint"] == thumbprint(only_account(ca).jwk)
    assert key_of(issued) != before and not is_pending(issued)
    assert stat.S_IMODE((account_folder(issued) / "key.pem").stat().st_mode) == 0o600
    assert issued.renew("www", "--force").one["result"] == "renewed"
    assert len(ca.accounts) == 1


def test_the_new_key_is_on_disk_before_the_ca_hears_of_it(issued, ca, by):
    seen = []

    def look(call):
        if call.operation == "key-change":
            file = account_folder(issued) / "key-next.pem"
            seen.append(stat.S_IMODE(file.stat().st_mode))

    ca.on_call = look
    verb(issued, "account", "rollover")
    assert seen == [0o600]


@pytest.mark.parametrize("fault, new", [(lose_reply, True), (drop, False), (problem("malformed"), False),
                                        (problem("serverInternal", 500), False)])
def test_a_lost_reply_is_resolved_by_question(issued, ca, by, fault, new):
    before = key_of(issued)
    ca.fault("key-change", fault)
    result = verb(issued, "account", "rollover", expect=0 if new else 1).json
    assert (key_of(issued) != before) == new and not is_pending(issued)
    assert (result["error"] is None) == new
    assert result["key"]["thumbprint"] == thumbprint(only_account(ca).jwk)
    assert issued.renew("www", "--force").one["result"] == "renewed"
    assert len(ca.accounts) == 1 and ca.count("key-change") == 1


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("then", ["renew", "agent", "show", "rollover"])
def test_a_rollover_that_was_killed_is_resolved_before_anything_else(issued, ca, arrived, then):
    def hang(call, proceed):
        if arrived:
            proceed()
        call.wait_for_peer_to_leave()
        return drop(call, proceed)

    before, known = key_of(issued), only_account(ca).jwk
    ca.fault("key-change", hang)
    issued.write()
    process = subprocess.Popen([issued.binary, "account", "rollover", "-c", str(issued.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    wait_for(lambda: ca.count("key-change") == 1, what="keyChange")
    if arrived:
        wait_for(lambda: only_account(ca).jwk != known, what="the change")
    process.kill()
    process.wait()
    assert is_pending(issued) and key_of(issued) == before
    calls = len(ca.calls)
    if then == "agent":
        issued.certificate("two").write()
        agent = issued.agent()
        agent.wait_for(lambda: issued.generation("two") == 1)
    elif then == "renew":
        assert issued.renew("www", "--force").one["result"] == "renewed"
    else:
        assert verb(issued, "account", then).json["exit"] == 0
    after = [c.operation for c in ca.calls[calls:] if c.operation not in ("directory", "new-nonce")]
    assert after[0] == "new-account"  # onlyReturnExisting: the question which key is known
    assert not is_pending(issued) and len(ca.accounts) == 1
    assert verb(issued, "account", "show").json["key"]["thumbprint"] == thumbprint(only_account(ca).jwk)
    if then != "rollover":
        assert (key_of(issued) != before) == arrived


def test_nothing_is_signed_while_it_is_not_known_which_key_is_right(issued, ca):
    """The CA goes away right after keyChange: both keys stay, and nothing is ordered with either."""
    ca.fault("key-change", lose_reply)
    ca.fault("new-account", problem("serverInternal", 500), times=None)
    failed = verb(issued, "account", "rollover", expect=1).json
    assert failed["error"]["step"] == "rollover" and is_pending(issued)
    orders = ca.count("new-order")
    assert issued.renew("www", "--force", expect=1).one["result"] == "failed"
    assert ca.count("new-order") == orders and is_pending(issued)
    ca.faults.clear()
    assert issued.renew("www", "--force").one["result"] == "renewed"
    assert not is_pending(issued) and len(ca.accounts) == 1


def test_rollover_waits_for_orders_and_holds_new_ones(issued, ca):
    """While a challenge is pending the key stays: the key authorization is made with it."""
    issued.certificate("two").certificate("three").write()
    agent = issued.agent(wait=False)
    ca.validate = False  # the CA takes its time
    agent.wait_until_up()
    agent.wait_for(lambda: sum(a.challenge_status == "processing" for a in ca.authorizations.values()) == 2)
    before = key_of(issued)
    results = []
    thread = threading.Thread(target=lambda: results.append(verb(issued, "account", "rollover")))
    thread.start()
    wait_for(lambda: thread.is_alive() and ca.count("authorization") > 6, what="some polls")
    assert ca.count("key-change") == 0 and key_of(issued) == before and not is_pending(issued)
    held = threading.Thread(target=lambda: results.append(issued.run("renew", "www", "--force", "--json")))
    held.start()
    order_count = ca.count("new-order")
    ca.validate = True
    for authorization in list(ca.authorizations.values()):
        if authorization.challenge_status == "processing":
            ca.do_validate(only_account(ca), authorization)
    thread.join(60)
    held.join(60)
    assert all(r.code == 0 for r in results), results
    operations = [c.operation for c in ca.calls]
    change = operations.index("key-change")
    assert operations[:change].count("new-order") == order_count
    assert operations[change:].count("new-order") == 1  # the one that was held
    assert key_of(issued) != before
    agent.wait_for(lambda: issued.generation("two") == 1 and issued.generation("three") == 1)
    assert len(ca.accounts) == 1


def test_a_rollover_that_is_given_up_holds_nobody(issued, ca):
    """Also not those who reach the same account by another issuer."""
    issued.issuer(ca, "second").certificate("www", issuer="test").certificate("two", issuer="test")
    issued.certificate("four", issuer="second").write()
    agent = issued.agent()
    agent.wait_for(lambda: issued.generation("two") == 1 and issued.generation("four") == 1)
    ca.validate = False
    issued.config["certificates"]["three"] = {"names": ["three.example.org"], "issuer": "test"}
    issued.write()
    agent.hangup()
    agent.wait_for(lambda: any(a.challenge_status == "processing" for a in ca.authorizations.values()))
    rollover = subprocess.Popen([issued.binary, "account", "rollover", "test", "-c", str(issued.file)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    polls = ca.count("authorization")
    agent.wait_for(lambda: ca.count("authorization") > polls + 3, what="some polls")
    assert rollover.poll() is None
    ca.validate = True
    orders = ca.count("new-order")
    held = [subprocess.Popen([issued.binary, "renew", name, "--force", "-c", str(issued.file)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
            for name in ("www", "four")]
    agent.wait_for(lambda: issued.one_status("four")["state"] == "ordering")
    assert ca.count("new-order") == orders
    rollover.kill()
    rollover.wait()
    assert [process.wait(30) for process in held] == [0, 0]
    assert ca.count("key-change") == 0 and len(ca.accounts) == 1


def test_two_issuers_of_one_directory_share_the_new_key(issued, ca):
    issued.issuer(ca, "second").certificate("two", issuer="second").certificate("www", issuer="test")
    agent = issued.agent()
    agent.wait_for(lambda: issued.generation("two") == 1)
    assert verb(issued, "account", "rollover", "second").json["exit"] == 0
    assert issued.renew("--force", "www", "two").json["exit"] == 0
    assert len(ca.accounts) == 1


def test_pending_key_that_is_the_key_already(issued, ca):
    folder = account_folder(issued)
    (folder / "key-next.pem").write_text(key_of(issued))
    (folder / "key-next.pem").chmod(0o600)
    assert issued.renew("www", "--force").one["result"] == "renewed" and not is_pending(issued)


# deactivate -------------------------------------------------------------------------------------------


def test_deactivate_wants_yes(issued, ca):
    result = verb(issued, "account", "deactivate", expect=2).json
    assert "--yes" in result["error"]["hint"] and only_account(ca).status == "valid"


@pytest.mark.parametrize("fault", [None, lose_reply])
def test_deactivate_is_for_ever_and_makes_no_other_account(issued, ca, by, fault):
    if fault:
        ca.fault("account", fault)
    result = verb(issued, "account", "deactivate", "--yes").json
    assert result["status"] == "deactivated" and only_account(ca).status == "deactivated"
    assert verb(issued, "account", "show").json["status"] == "deactivated"
    assert verb(issued, "account", "deactivate", "--yes").json["exit"] == 0
    refused = issued.renew("www", "--force", expect=1).one
    assert "deactivated" in refused["error"]["text"] and issued.generation() == 1
    assert verb(issued, "account", "rollover", expect=1).json["error"]["kind"] == "refused"
    assert len(ca.accounts) == 1 and ca.count("new-order") == 1


# Usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["explode"], ["show", "nosuch"], ["show", "test", "more"]])
def test_wrong_usage(issued, ca, args):
    calls = len(ca.calls)
    result = verb(issued, "account", *args, expect=2)
    assert result.json["exit"] == 2 and result.json["error"]["kind"] == "config" and len(ca.calls) == calls


def test_several_issuers_must_be_told_apart(issued, ca, make_ca):
    issued.issuer(make_ca(name="other"), "other").certificate("www", issuer="test")
    result = verb(issued, "account", "show", expect=2).json
    assert "more than one issuer" in result["error"]["text"] and "other" in result["error"]["hint"]
    assert verb(issued, "account", "show", "test").json["exit"] == 0


def test_pebble(make_everleaf, pebble, http_port):
    everleaf = make_everleaf().issuer(pebble, contact="ops@example.org").http_01(http_port)
    everleaf.certificate("www").renew()
    account = verb(everleaf, "account", "show").json
    rolled = verb(everleaf, "account", "rollover").json
    assert rolled["account"] == account["account"] and rolled["key"] != account["key"]
    assert everleaf.renew("www", "--force").one["result"] == "renewed"
    assert verb(everleaf, "account", "update").json["contact"] == ["mailto:ops@example.org"]
    assert verb(everleaf, "account", "deactivate", "--yes").json["status"] == "deactivated"
    assert everleaf.renew("www", "--force", expect=1).one["result"] == "failed"
    assert os.path.exists(everleaf.live() / "cert.pem")
