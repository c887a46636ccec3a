"""deploy and rollback: what people do with generations that are there already."""

import datetime
import os
import subprocess
import threading
import time

import pytest
from support import RequestLoop, clean_environment, open_to_everybody, served_sha256, wait_for

from fake import pki
from test_servers import files, script, serves


def history(everleaf, name="www"):
    (certificate,) = everleaf.status(name)["certificates"]
    return [entry["event"] for entry in certificate["history"]]


def verb(everleaf, *args, expect=0, **options):
    everleaf.write()
    return everleaf.run(*args, "--json", expect=expect, **options)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def served(everleaf, ca, nginx, out):
    """www is live in its second generation, and nginx is proven to serve it."""
    everleaf.certificate("www", outputs=[files(out)]).renew()
    everleaf.port = nginx.site(out)
    nginx.start()
    everleaf.server("web", **nginx.settings())
    everleaf.certificate("www", outputs=[files(out)], servers=["web"])
    everleaf.renew("www", "--force")
    return everleaf


def agent_or_none(everleaf, by):
    if by == "agent":
        everleaf.agent().wait_for_state("idle", "proven", "deployed", "held")


def sha256_of(everleaf, generation, name="www"):
    folder = everleaf.state / "certificates" / name / "generations" / f"{generation:06}"
    return pki.sha256(pki.certificates((folder / "cert.pem").read_text())[0])


# deploy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["self", "agent"])
def test_deploy_writes_reloads_and_proves_again(served, ca, nginx, out, by):
    before, orders = nginx.reloads(), ca.count("new-order")
    agent_or_none(served, by)
    (out / "..data" / "cert.pem").unlink()
    result = verb(served, "deploy", "www")
    assert result.json["schema"] == "everleaf.renew/1" and result.json["by"] == by
    assert result.one["result"] == "renewed" and result.one["proven"] is True
    assert result.one["generation"] == 2 and result.one["error"] is None
    assert result.one["old"]["sha256"] == result.one["new"]["sha256"] == sha256_of(served, 2)
    assert nginx.reloads() == before + 1 and ca.count("new-order") == orders
    assert (out / "cert.pem").exists()
    assert "deploy" in history(served)


def test_deploy_passes_the_back_off_of_a_generation_that_was_rolled_back(served, nginx):
    served.config["servers"]["web"]["prove"][0]["deadline"] = "1s"
    served.config["servers"]["web"]["reload"] = "off"  # goes on serving the old leaf: no proof
    failed = served.renew("www", "--force", expect=1).one
    assert failed["result"] == "rolled-back" and served.one_status()["state"] == "rolled-back"
    assert served.one_status()["generation"] == 2 and served.one_status()["newest_generation"] == 3
    served.config["servers"]["web"]["reload"] = "signal"
    assert served.renew("--due", expect=1).one["result"] == "backoff"
    result = verb(served, "deploy", "www").one
    assert result["generation"] == 3 and result["proven"] is True
    assert serves(served.port, sha256_of(served, 3))
    assert served.one_status()["state"] == "proven"


def test_deploy_without_a_certificate_says_so(everleaf, ca):
    everleaf.certificate("www")
    result = verb(everleaf, "deploy", "www", expect=3).one
    assert result["result"] == "failed" and "no certificate" in result["error"]["text"]
    assert "everleaf renew www" in result["error"]["hint"] and ca.count("new-order") == 0


@pytest.mark.parametrize("args", [["deploy"], ["deploy", "nosuch"], ["deploy", "www", "1"], ["rollback"],
                                  ["rollback", "www", "x"], ["rollback", "www", "0"],
                                  ["rollback", "www", "-1"], ["rollback", "www", "1", "2"]])
def test_wrong_usage_is_exit_2(everleaf, ca, args):
    everleaf.certificate("www")
    result = verb(everleaf, *args, expect=2)
    assert result.json["exit"] == 2 and result.json["error"]["kind"] == "config"


# rollback ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["self", "agent"])
def test_rollback_makes_an_earlier_generation_live_and_holds_it(served, ca, nginx, out, by):
    agent_or_none(served, by)
    orders = ca.count("new-order")
    with RequestLoop(served.port) as requests:
        result = verb(served, "rollback", "www")
        assert serves(served.port, sha256_of(served, 1))
    assert result.one["result"] == "rolled-back" and result.json["by"] == by
    assert result.one["generation"] == 1 and result.one["proven"] is True
    assert result.one["old"]["sha256"] == sha256_of(served, 2)
    assert result.one["new"]["sha256"] == sha256_of(served, 1)
    assert requests.failures == []
    status = served.one_status()
    assert (status["state"], status["exit"], status["error"]) == ("held", 0, None)
    assert (status["generation"], status["newest_generation"]) == (1, 2)
    assert history(served)[-3:] == ["rollback", "proven", "held"]
    # It stays so over a restart of whoever has the state, and nothing is ordered for it.
    if by == "agent":
        served.agents[-1].kill()
        agent = served.agent()
        agent.wait_for_state("held")
        time.sleep(0.3)
    else:
        assert served.renew("--due").one["result"] == "not-due"
    assert served.one_status()["state"] == "held" and served.generation() == 1
    assert ca.count("new-order") == orders
    # Until a deployment of the newest one.
    assert verb(served, "deploy", "www").one["generation"] == 2
    assert served.one_status()["state"] == "proven" and serves(served.port, sha256_of(served, 2))


def test_the_next_renewal_ends_a_hold(served):
    verb(served, "rollback", "www", "1")
    result = served.renew("www", "--force").one
    assert result["generation"] == 3 and result["proven"] is True
    assert served.one_status()["state"] == "proven"


def test_a_hold_ends_when_a_twentieth_of_the_lifetime_is_left(everleaf, ca):
    ca.not_before = pki.now() - datetime.timedelta(seconds=600)
    ca.lifetime = datetime.timedelta(seconds=640)  # a twentieth of it: 32 s
    everleaf.certificate("www").renew()
    ca.not_before, ca.lifetime = None, 90 * pki.DAY
    everleaf.renew("www", "--force")
    agent = everleaf.agent()
    agent.wait_for_state("deployed", "idle")
    verb(everleaf, "rollback", "www", "1")
    assert everleaf.one_status()["state"] == "held"
    agent.wait_for(lambda: everleaf.generation() == 2)
    assert agent.wait_for_state("deployed", "idle", "proven")["exit"] == 0
    assert ca.count("new-order") == 2


def test_rollback_refuses_what_is_not_fit(everleaf, ca):
    everleaf.certificate("www", names=["www.example.org"]).renew()
    everleaf.certificate("www", names=["www.example.org", "two.example.org"])
    everleaf.renew("www")
    ca.lifetime = pki.HOUR + datetime.timedelta(seconds=6)
    everleaf.renew("www", "--force")
    ca.lifetime = 90 * pki.DAY
    ends = pki.now().timestamp() + 6
    everleaf.renew("www", "--force")
    assert everleaf.generation() == 4
    unknown = verb(everleaf, "rollback", "www", "17", expect=2).one
    assert "no generation 17" in unknown["error"]["text"]
    for number in ("2", "3", "4 (live)"):
        assert number in unknown["error"]["hint"]
    wait_for(lambda: time.time() > ends, what="the end of generation 3")
    expired = verb(everleaf, "rollback", "www", "3", expect=1).one
    assert expired["result"] == "failed" and "expired" in expired["error"]["text"]
    live = verb(everleaf, "rollback", "www", "4", expect=1).one
    assert "live already" in live["error"]["text"]
    everleaf.certificate("www", names=["www.example.org", "three.example.org"])
    lacking = verb(everleaf, "rollback", "www", "2", expect=1).one
    assert "lacks the name three.example.org" in lacking["error"]["text"]
    none = verb(everleaf, "rollback", "www", expect=1).one
    assert "no earlier generation" in none["error"]["text"]
    assert everleaf.generation() == 4 and "rollback" not in history(everleaf)


def test_rollback_that_fails_its_proof_is_undone(everleaf, ca, out, make_endpoint, tmp_path):
    everleaf.certificate("www", outputs=[files(out)]).renew()
    everleaf.renew("www", "--force")
    endpoint = make_endpoint(out).load()
    hook = script(tmp_path / "reload", "exit 0\n")
    everleaf.server("app", type="exec", check="off", reload=[hook],
                    prove=[{"connect": endpoint.connect, "deadline": "1s"}])
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    verb(everleaf, "deploy", "www")
    result = verb(everleaf, "rollback", "www", expect=1).one
    assert result["result"] == "failed" and result["new"] is None
    assert everleaf.generation() == 2 and pki.sha256(pki.certificates((out / "cert.pem").read_text())[0]) == \
        sha256_of(everleaf, 2)
    assert everleaf.document("deploy")["held_over"] == 0
    assert history(everleaf)[-2:] == ["rollback", "rollback-failed"]
    everleaf.edit_document("deploy", lambda d: d.update(next_try="2020-01-01T00:00:00Z"))
    everleaf.renew("--due")
    assert everleaf.one_status()["state"] == "proven" and everleaf.generation() == 2


def test_killed_rollback_is_finished_as_a_rollback(everleaf, ca, out, make_endpoint, tmp_path):
    everleaf.certificate("www", outputs=[files(out)]).renew()
    everleaf.renew("www", "--force")
    endpoint = make_endpoint(out).load()
    hook = script(tmp_path / "reload", f"touch {tmp_path}/reloading; sleep 600\n")
    everleaf.server("app", type="exec", check="off", reload=[hook],
                    prove=[{"connect": endpoint.connect, "deadline": "5s"}])
    everleaf.certificate("www", outputs=[files(out)], servers=["app"]).write()
    process = subprocess.Popen([everleaf.binary, "rollback", "www", "-c", str(everleaf.file)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=clean_environment())
    wait_for((tmp_path / "reloading").exists, what="the reload")
    process.kill()
    process.wait()
    assert everleaf.generation() == 1
    script(tmp_path / "reload", "exit 0\n")
    endpoint.load()
    assert everleaf.renew("--due").one["result"] == "not-due"
    status = everleaf.one_status()
    assert (status["state"], status["generation"]) == ("held", 1)
    assert history(everleaf)[-1] == "held"


# Many at once -----------------------------------------------------------------------------------------


def test_requests_for_one_certificate_at_once_are_one_deployment(served, ca, nginx):
    agent_or_none(served, "agent")
    orders, reloads = ca.count("new-order"), nginx.reloads()
    results = []
    served.write()

    def ask(*args):
        results.append(served.run(*args, "--json"))

    threads = [threading.Thread(target=ask, args=args) for args in
               [("renew", "www", "--force")] * 4 + [("deploy", "www")] * 4]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.code for r in results] == [0] * 8
    assert all(r.one["proven"] for r in results)
    assert ca.count("new-order") == orders + 1
    assert nginx.reloads() <= reloads + 2  # those that came before the renewal began, and the renewal


def test_no_wait_returns_once_the_agent_accepted(served):
    agent_or_none(served, "agent")
    result = verb(served, "rollback", "www", "--no-wait")
    assert result.one["result"] in ("accepted", "in-progress") and result.json["by"] == "agent"
    served.agents[-1].wait_for_state("held")


def test_only_the_agents_user_may_change(served):
    if os.getuid() != 0:
        pytest.skip("needs root to be somebody else")
    agent_or_none(served, "agent")
    os.chmod(served.control, 0o666)
    open_to_everybody(served)
    result = served.run("rollback", "www", "--json", expect=4, prefix=["setpriv", "--reuid=65534", "--clear-groups"])
    assert result.json["error"]["hint"] == "run it with sudo"
    assert served.generation() == 2


def test_text_for_people(served):
    assert "rolled back and held" in served.run("rollback", "www").stdout
    assert "held" in served.run("status").stdout
    assert "www: deployed, valid until" in served.run("deploy", "www").stdout
    failed = served.run("rollback", "www", "9", expect=2)
    assert "there is no generation 9" in failed.stdout
