"""From files to a proven handshake: baseline, check, reload, proof, and the way back."""

import json
import os
import subprocess
import threading
import time

import pytest
from support import PORTS, RequestLoop, is_listening, read_pair, served_sha256, stop_process, wait_for

from fake import pki


def script(path, body):
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def files(folder, **settings):
    return {"type": "files", "dir": str(folder), **settings}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def served(everleaf, ca, nginx, out):
    """www is issued, nginx serves it, and from now on Everleaf knows that server."""
    everleaf.certificate("www", outputs=[files(out)]).renew()
    everleaf.port = nginx.site(out)
    nginx.start()
    everleaf.server("web", **nginx.settings())
    everleaf.certificate("www", outputs=[files(out)], servers=["web"])
    return everleaf


@pytest.fixture
def stubborn(everleaf, ca, out, make_endpoint, tmp_path):
    """A server that never loads anything new; its reload only takes notes."""
    everleaf.certificate("www", outputs=[files(out)]).renew()
    endpoint = make_endpoint(out).load()
    everleaf.notes = tmp_path / "reloads"
    hook = script(tmp_path / "reload", f'echo "$EVERLEAF_HOOK_REASON" >> {everleaf.notes}\n')
    everleaf.server("app", type="exec", check="off", reload=[hook],
                    prove=[{"connect": endpoint.connect, "deadline": "2s"}])
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    everleaf.endpoint = endpoint
    return everleaf


def serves(port, sha256, name="www.example.org"):
    """Right after a reload an old worker may still take one connection."""
    return wait_for(lambda: served_sha256(port, name) == sha256, 5, f"{name} to be served")


def retry_now(everleaf, name="www"):
    everleaf.edit_document("deploy", lambda d: d.update(next_try="2020-01-01T00:00:00Z"), name)


# The way forward --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["self", "agent"])
def test_forced_renewal_is_proven_without_a_failed_request(served, nginx, out, by):
    before = served_sha256(served.port)
    if by == "agent":
        agent = served.agent()
        agent.wait_for_state("idle", "proven", "deployed")
    with RequestLoop(served.port) as requests:
        result = served.renew("www", "--force")
        assert result.one["new"]["sha256"] != before
        assert serves(served.port, result.one["new"]["sha256"])
    assert result.json["by"] == by
    assert result.one["proven"] is True and result.one["reload_ms"] >= 0
    assert requests.failures == []
    assert requests.leaves == [before, result.one["new"]["sha256"]]
    assert nginx.reloads() == 1
    assert pki.sha256(read_pair(out)) == result.one["new"]["sha256"]
    (server,) = served.one_status()["servers"]
    assert server["name"] == "web" and server["state"] == "proven" and server["error"] is None
    (endpoint,) = server["endpoints"]
    assert endpoint["serves_live"] is True and endpoint["sha256"] == result.one["new"]["sha256"]
    assert endpoint["address"] == endpoint["connect"] == f"127.0.0.1:{served.port}"
    assert endpoint["sni"] == "www.example.org"


def test_five_forced_renewals_in_a_row(served, nginx):
    agent = served.agent()
    agent.wait_for_state("idle", "proven", "deployed")
    with RequestLoop(served.port) as requests:
        for _ in range(5):
            assert served.renew("www", "--force").one["proven"] is True
    assert requests.failures == [] and len(requests.leaves) == 6


def test_nginx_reads_the_live_folder(everleaf, ca, nginx):
    everleaf.certificate("www").renew()
    port = nginx.site(everleaf.live())
    nginx.start()
    everleaf.server("web", **nginx.settings()).certificate("www", servers=["web"])
    result = everleaf.renew("www", "--force").one
    assert result["proven"] is True and serves(port, result["new"]["sha256"])


def test_first_certificate_of_a_server_that_waits_for_it(everleaf, ca, nginx, out):
    """nginx -t fails because its files were never written; that must not stop the first issuance."""
    port = nginx.site(out)
    nginx.write()
    everleaf.server("web", **nginx.settings()).certificate("www", outputs=[files(out)], servers=["web"])
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    agent.wait_for_state("deployed", "idle")
    nginx.start()
    agent.wait_for_state("proven", "idle")
    assert served_sha256(port) == pki.sha256(read_pair(out))
    agent.wait_for(lambda: everleaf.one_status()["servers"][0]["state"] == "proven")
    assert nginx.reloads() == 0 and len(ca.issued) == 1


def test_several_names_and_endpoints(everleaf, ca, nginx, tmp_path):
    outs = {name: tmp_path / name for name in ("a", "b")}
    for name, folder in outs.items():
        everleaf.certificate(name, outputs=[files(folder)])
    everleaf.renew()
    port = PORTS.get()
    for name, folder in outs.items():
        nginx.site(folder, f"{name}.example.org", port)
    nginx.start()
    everleaf.server("web", **nginx.settings())
    for name, folder in outs.items():
        everleaf.certificate(name, outputs=[files(folder)], servers=["web"])
    results = {r["name"]: r for r in everleaf.renew("a", "b", "--force").json["results"]}
    for name in outs:
        assert results[name]["proven"] is True
        assert serves(port, results[name]["new"]["sha256"], f"{name}.example.org")
    assert nginx.reloads() == 1, "one reload for both"


def test_endpoint_options(served, nginx):
    settings = nginx.settings()
    settings["prove"] = [
        {"connect": f"localhost:{served.port}", "sni": ["www.example.org"], "matches": 3, "deadline": "10s"},
        {"connect": f"127.0.0.1:{served.port}", "certificates": ["www"], "deadline": "2s",
         "trust": {"file": served.config["issuers"]["test"]["ca_file"]}},
    ]
    served.server("web", **settings)
    result = served.renew("www", "--force", expect=(0, 1, 3))
    # The chain does not lead to that CA: it serves our leaf, but trust was asked for as well.
    assert result.one["proven"] is not True
    settings["prove"].pop()
    served.server("web", **settings)
    assert served.renew("www", "--force").one["proven"] is True


def test_trust_is_proven_when_asked_for(served, ca, nginx):
    settings = nginx.settings()
    settings["prove"][0]["trust"] = {"file": str(ca.root_file)}
    served.server("web", **settings)
    assert served.renew("www", "--force").one["proven"] is True


def test_no_endpoint_ends_at_deployed(everleaf, ca, out, tmp_path):
    everleaf.server("app", type="exec", reload=["/bin/true"], prove="off")
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    result = everleaf.renew().one
    assert result["result"] == "renewed" and result["proven"] is False
    assert everleaf.one_status()["state"] in ("deployed", "idle")
    assert "not proven: no endpoint" in everleaf.run("status", "www", expect=0).stdout


def test_server_that_is_not_running(everleaf, ca, nginx, out):
    everleaf.certificate("www", outputs=[files(out)]).renew()
    nginx.site(out)
    nginx.write()
    everleaf.server("web", **nginx.settings()).certificate("www", outputs=[files(out)], servers=["web"])
    result = everleaf.renew("www", "--force", expect=(0, 1))
    assert result.one["result"] == "renewed" and result.one["proven"] is False
    assert result.seconds < 15, "nothing tells that it will ever come"
    assert pki.sha256(read_pair(out)) == result.one["new"]["sha256"]
    agent = everleaf.agent()
    nginx.start()
    agent.wait_for(lambda: everleaf.one_status()["servers"][0]["state"] == "proven")
    assert len(ca.issued) == 2


def test_default_probe_of_a_missing_server_is_no_alarm(everleaf, ca, out, nginx):
    """The guessed endpoint 127.0.0.1:443 may be silent."""
    if is_listening(443):
        pytest.skip("something listens on port 443 here")
    settings = nginx.settings(1)
    del settings["prove"]
    nginx.write()
    everleaf.server("web", **settings).certificate("www", outputs=[files(out)], servers=["web"])
    result = everleaf.renew(expect=0).one
    assert result["result"] == "renewed" and result["error"] is None


# Baseline ---------------------------------------------------------------------------------------------


def test_configuration_broken_before(served, ca, nginx, out):
    before = served_sha256(served.port)
    nginx.tail = "this is no directive;\n"
    nginx.write()
    result = served.renew("www", "--force", expect=1)
    error = result.one["error"]
    assert error["problem"] == "server_config" and "unknown directive" in error["text"], result
    assert pki.sha256(read_pair(out)) == before == served_sha256(served.port)
    assert served.generation() == 1 and nginx.reloads() == 0
    status = served.one_status()
    assert status["newest_generation"] == 2 and status["generation"] == 1 and status["next_try"]
    assert status["exit"] == 1
    nginx.tail = ""
    nginx.write()
    agent = served.agent()
    assert len(ca.issued) == 2
    agent.stop()
    retry_now(served)
    agent = served.agent()
    agent.wait_for(lambda: served.generation() == 2)
    agent.wait_for(lambda: served_sha256(served.port) == pki.sha256(read_pair(out)))
    assert len(ca.issued) == 2, "a deployment never costs an order"
    agent.wait_for(lambda: served.one_status()["exit"] == 0)


def test_renew_by_name_deploys_what_waits_instead_of_ordering(served, ca, nginx):
    nginx.tail = "broken"
    nginx.write()
    served.renew("www", "--force", expect=1)
    nginx.tail = ""
    nginx.write()
    result = served.renew("www")
    assert result.one["generation"] == 2 and result.one["proven"] is True, result
    assert len(ca.issued) == 2


def test_endpoint_silent_at_baseline_is_unproven_not_rolled_back(stubborn, ca, out):
    stubborn.endpoint.stop()
    result = stubborn.renew("www", "--force", expect=1)
    assert result.one["result"] == "renewed" and result.one["proven"] is False
    assert stubborn.generation() == 2
    assert pki.sha256(read_pair(out)) == result.one["new"]["sha256"]
    status = stubborn.one_status()
    assert status["state"] == "deployed" and status["error"]["problem"] == "unproven"
    assert status["servers"][0]["state"] == "unproven"
    assert lines(stubborn.notes) == ["renewed"]
    agent = stubborn.agent()
    stubborn.endpoint.load()
    stubborn.endpoint.start()
    agent.wait_for(lambda: stubborn.one_status()["servers"][0]["state"] == "proven")
    status = agent.wait_for(lambda: (lambda s: s if s["exit"] == 0 else None)(stubborn.one_status()))
    assert status["error"] is None


def test_endpoint_that_served_something_else_is_unproven(stubborn, ca, out, nginx, tmp_path):
    nginx.self_signed(tmp_path / "foreign")
    stubborn.endpoint.load(tmp_path / "foreign/fullchain.pem", tmp_path / "foreign/privkey.pem")
    result = stubborn.renew("www", "--force", expect=(1, 3))
    assert result.one["result"] == "renewed" and result.one["proven"] is False
    assert stubborn.generation() == 2 and lines(stubborn.notes) == ["renewed"]
    assert stubborn.one_status()["error"]["problem"] == "unproven"
    assert stubborn.run("status").code == 3, "not what its server serves"


def test_placeholder_is_replaced_and_proven(everleaf, ca, nginx, out):
    """The usual first deployment: something self-signed is served until then."""
    nginx.self_signed(out)
    port = nginx.site(out)
    nginx.start()
    everleaf.server("web", **nginx.settings())
    everleaf.certificate("www", outputs=[files(out, layout="plain")], servers=["web"])
    result = everleaf.renew().one
    assert result["proven"] is True and serves(port, result["new"]["sha256"])


# The way back -----------------------------------------------------------------------------------------


def assert_rolled_back(everleaf, result, before, *folders):
    assert result.one["result"] == "rolled-back" and result.one["error"]["text"], result
    assert result.one["proven"] is False and result.one["next_try"]
    assert result.one["generation"] == 1 == everleaf.generation()
    for folder in (everleaf.live(), *folders):
        assert pki.sha256(read_pair(folder)) == before
    status = everleaf.one_status()
    assert status["state"] == "rolled-back" and status["exit"] == 1, status
    assert status["newest_generation"] == 2 and status["generation"] == 1
    assert all(row["generation"] == 1 and row["error"] is None for row in status["outputs"])
    assert everleaf.run("status").code == 1


def test_nginx_refuses_the_new_files(served, ca, nginx, out, tmp_path):
    """A second block pairs the certificate with a copy of the old key: fine before, not after."""
    before = served_sha256(served.port)
    (tmp_path / "old.key").write_text((out / "privkey.pem").read_text())
    other = PORTS.get()
    nginx.extra = f"""
    server {{
        listen 127.0.0.1:{other} ssl;
        ssl_certificate {out}/fullchain.pem;
        ssl_certificate_key {tmp_path}/old.key;
        return 200 "hello";
    }}"""
    nginx.write()
    nginx.process.send_signal(1)
    wait_for(lambda: is_listening(other), what="the second block")
    with RequestLoop(served.port) as requests:
        result = served.renew("www", "--force", expect=1)
    assert_rolled_back(served, result, before, out)
    assert "key values mismatch" in result.one["error"]["text"]
    assert result.one["error"]["step"] == "check"
    assert served_sha256(served.port) == before
    assert nginx.reloads() == 1, "ours only: the check stopped the rest"
    assert requests.failures == [] and requests.leaves == [before]


def test_server_that_does_not_pick_up(stubborn, ca, out):
    before = served_sha256(stubborn.endpoint.port)
    result = stubborn.renew("www", "--force", expect=1)
    assert_rolled_back(stubborn, result, before, out)
    assert result.one["error"]["step"] == "prove"
    assert lines(stubborn.notes) == ["renewed", "rolled-back"]
    (server,) = stubborn.one_status()["servers"]
    assert server["state"] == "rolled-back"
    assert server["endpoints"][0]["serves_live"] is True, "the old one, which is live again"


def test_metrics_of_a_rollback(stubborn, ca):
    stubborn.listen()
    agent = stubborn.agent()
    agent.wait_for_state("idle", "deployed", "proven")
    stubborn.renew("www", "--force", expect=1)
    metrics = agent.metrics()
    assert metrics.value("everleaf_rollbacks_total", certificate="www") == 1
    assert metrics.value("everleaf_deploys_total", result="rolled-back") == 1
    assert metrics.value("everleaf_renewals_total", result="rolled-back") == 1
    assert metrics.value("everleaf_deploy_success", certificate="www", server="app") == 0
    assert metrics.value("everleaf_endpoint_serves_live", endpoint=stubborn.endpoint.connect) == 1
    assert metrics.value("everleaf_certificate_ready", certificate="www") == 1
    assert metrics.value("everleaf_backoff_until_timestamp_seconds", certificate="www") > time.time()


def test_endpoint_dies_with_the_new_files(stubborn, ca, out, tmp_path):
    before = served_sha256(stubborn.endpoint.port)
    flag = tmp_path / "die"
    stubborn.config["servers"]["app"]["reload"] = ["/bin/sh", "-c", f"test -e {flag} || touch {flag}"]

    def die():
        wait_for(flag.exists)
        stubborn.endpoint.stop()

    thread = threading.Thread(target=die)
    thread.start()
    result = stubborn.renew("www", "--force", expect=1)
    thread.join()
    assert result.one["result"] == "rolled-back" and stubborn.generation() == 1
    assert pki.sha256(read_pair(out)) == before
    assert "fails now" in result.one["error"]["text"]


def test_reload_that_fails(stubborn, ca, out, tmp_path):
    before = served_sha256(stubborn.endpoint.port)
    stubborn.config["servers"]["app"]["reload"] = [script(
        tmp_path / "failing", f'echo "$EVERLEAF_HOOK_REASON" >> {stubborn.notes}\n'
        'echo "cannot reload: \033[31mred\007" >&2\nexit 7\n')]
    result = stubborn.renew("www", "--force", expect=1)
    assert_rolled_back(stubborn, result, before, out)
    error = result.one["error"]
    assert error["step"] == "reload" and "7" in error["text"] and "cannot reload" in error["text"]
    assert "\x1b" not in error["text"] and "\x07" not in result.stderr
    assert lines(stubborn.notes) == ["renewed", "rolled-back"]


def test_check_that_fails_only_afterwards_stops_the_reload(stubborn, ca, out, tmp_path):
    before = served_sha256(stubborn.endpoint.port)
    (tmp_path / "allowed").write_text((out / "fullchain.pem").read_text())
    stubborn.config["servers"]["app"]["check"] = ["/usr/bin/cmp", "-s", str(out / "fullchain.pem"),
                                                  str(tmp_path / "allowed")]
    result = stubborn.renew("www", "--force", expect=1)
    assert_rolled_back(stubborn, result, before, out)
    assert result.one["error"]["step"] == "check"
    assert lines(stubborn.notes) == []


def test_hook_that_hangs_is_killed_with_its_children(stubborn, ca, out, tmp_path):
    before = served_sha256(stubborn.endpoint.port)
    stubborn.config["servers"]["app"].update(timeout="1s", reload=[script(
        tmp_path / "hanging", f"trap '' TERM\nsleep 1000 & echo $! >> {tmp_path}/children\nwait\nsleep 1000\n")])
    result = stubborn.renew("www", "--force", expect=1)
    assert_rolled_back(stubborn, result, before, out)
    for child in lines(tmp_path / "children"):
        wait_for(lambda: not os.path.exists(f"/proc/{child}") or
                 open(f"/proc/{child}/stat").read().split()[2] == "Z", what="the child to be gone")


def test_hook_that_never_stops_talking(stubborn, ca, tmp_path):
    stubborn.config["servers"]["app"].update(timeout="2s", reload=["/usr/bin/yes", "x" * 100])
    assert stubborn.renew("www", "--force", expect=1).one["result"] == "rolled-back"


def test_hook_that_leaves_a_daemon_behind(everleaf, ca, out, tmp_path):
    everleaf.server("app", type="exec", prove="off", reload=[script(
        tmp_path / "daemon", f"setsid sleep 300 & echo $! > {tmp_path}/daemon.pid\nexit 0\n")])
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    result = everleaf.renew()
    assert result.seconds < 15 and result.one["result"] == "renewed"
    subprocess.run(["kill", (tmp_path / "daemon.pid").read_text().strip()], check=False)


def test_hook_that_is_not_there(stubborn, ca, out):
    before = served_sha256(stubborn.endpoint.port)
    stubborn.config["servers"]["app"]["reload"] = ["/nonexistent/reload"]
    result = stubborn.renew("www", "--force", expect=(1, 2))
    if result.code == 1:
        assert_rolled_back(stubborn, result, before, out)
        assert "/nonexistent/reload" in result.one["error"]["text"]


def test_what_a_hook_gets(everleaf, ca, out, tmp_path):
    everleaf.server("app", type="exec", prove="off", reload=[script(
        tmp_path / "dump", f"""
env > {tmp_path}/env
ls -l /proc/self/fd > {tmp_path}/fds
pwd > {tmp_path}/cwd
umask > {tmp_path}/umask
grep -E 'Sig(Blk|Ign)' /proc/self/status > {tmp_path}/signals
""")])
    everleaf.certificate("www", ["www.example.org", "example.org"], outputs=[files(out)], servers=["app"])
    everleaf.renew(env={"SECRET_OF_THE_AGENT": "hunter2", "LD_PRELOAD": ""})
    env = dict(line.split("=", 1) for line in lines(tmp_path / "env") if "=" in line)
    leaf = ca.issued[0][1]
    assert env["EVERLEAF_HOOK_CERTIFICATE"] == "www"
    assert set(env["EVERLEAF_HOOK_NAMES"].split(",")) == {"www.example.org", "example.org"}
    assert env["EVERLEAF_HOOK_REASON"] == "renewed" and env["EVERLEAF_HOOK_ATTEMPT"]
    assert env["EVERLEAF_HOOK_SERVER"] == "app"
    assert env["EVERLEAF_HOOK_DIR"] == str(everleaf.live())
    assert env["EVERLEAF_HOOK_FULLCHAIN"] == str(everleaf.live() / "fullchain.pem")
    assert env["EVERLEAF_HOOK_KEY"] == str(everleaf.live() / "privkey.pem")
    assert int(env["EVERLEAF_HOOK_SERIAL"], 16) == leaf.serial_number
    assert "SECRET_OF_THE_AGENT" not in env and not any("NOTIFY" in name for name in env)
    assert set(env) - {name for name in env if name.startswith("EVERLEAF_HOOK_")} <= {
        "PATH", "LANG", "LC_ALL", "HOME", "PWD", "SHLVL", "_", "TZ", "USER", "LOGNAME", "SHELL",
        "RENEWED_LINEAGE", "RENEWED_DOMAINS"}
    fds = {line.split()[8] for line in lines(tmp_path / "fds")[1:]}
    assert fds <= {"0", "1", "2", "3"}
    assert lines(tmp_path / "cwd") == ["/"]
    for line in lines(tmp_path / "signals"):
        # Without 32 and 33, which belong to the C library.
        assert int(line.split()[1], 16) & 0x7FFFFFFF == 0, line


def test_rolled_back_certificate_is_tried_again_without_an_order(stubborn, ca, out):
    stubborn.renew("www", "--force", expect=1)
    assert len(ca.orders) == 2
    stubborn.endpoint.follow = True
    retry_now(stubborn)
    agent = stubborn.agent()
    agent.wait_for(lambda: stubborn.generation() == 2)
    agent.wait_for(lambda: stubborn.one_status()["exit"] == 0)
    assert len(ca.orders) == len(ca.issued) == 2
    assert served_sha256(stubborn.endpoint.port) == pki.sha256(read_pair(out))


def test_force_after_a_rollback_may_order_but_never_tears(stubborn, ca, out):
    stubborn.renew("www", "--force", expect=1)
    stubborn.endpoint.follow = True
    result = stubborn.renew("www", "--force")
    assert result.one["proven"] is True
    assert served_sha256(stubborn.endpoint.port) == pki.sha256(read_pair(out))
    assert len(ca.issued) <= 3


@pytest.mark.parametrize("case", ["expired", "last twentieth", "lacks a name"])
def test_never_back_to_an_unfit_certificate(stubborn, ca, out, case):
    names = ["www.example.org"]
    if case == "expired":
        ca.not_before, ca.lifetime = pki.now() - 90 * pki.DAY, 90 * pki.DAY + 4 * pki.SECOND
    elif case == "last twentieth":
        ca.not_before, ca.lifetime = pki.now() - 88 * pki.DAY, 90 * pki.DAY
    stubborn.endpoint.follow = True
    stubborn.renew("www", "--force")
    stubborn.endpoint.follow = False
    ca.not_before, ca.lifetime = None, 90 * pki.DAY
    if case == "lacks a name":
        names.append("new.example.org")
    if case == "expired":
        time.sleep(4)
    stubborn.certificate("www", names, outputs=[files(out)], servers=["app"])
    result = stubborn.renew("www", "--force", expect=(1, 3))
    assert result.one["result"] != "rolled-back" and stubborn.generation() == 3
    assert pki.sha256(read_pair(out)) == pki.sha256(read_pair(stubborn.live()))
    assert result.one["error"]["text"]


# Several certificates ---------------------------------------------------------------------------------


@pytest.fixture
def batch(everleaf, ca, make_endpoint, tmp_path):
    """Four certificates on one server that loads what is there when asked."""
    everleaf.notes = tmp_path / "reloads"
    everleaf.outs = {name: tmp_path / name for name in ("a", "b", "c", "d")}
    hook = script(tmp_path / "reload", f'echo "$EVERLEAF_HOOK_REASON" >> {everleaf.notes}\n')
    for name, folder in everleaf.outs.items():
        everleaf.certificate(name, outputs=[files(folder)])
    everleaf.renew()
    everleaf.endpoints = {}
    prove = []
    for name, folder in everleaf.outs.items():
        endpoint = make_endpoint(folder, follow=True)
        everleaf.endpoints[name] = endpoint
        prove.append({"connect": endpoint.connect, "certificates": [name], "deadline": "2s"})
    everleaf.server("app", type="exec", check="off", reload=[hook], prove=prove)
    for name, folder in everleaf.outs.items():
        everleaf.certificate(name, outputs=[files(folder)], servers=["app"])
    return everleaf


def results_of(result):
    return {r["name"]: r["result"] for r in result.json["results"]}


def test_one_reload_for_the_batch(batch, ca):
    result = batch.renew(*batch.outs, "--force")
    assert set(results_of(result).values()) == {"renewed"}
    assert all(r["proven"] for r in result.json["results"])
    assert lines(batch.notes) == ["renewed"]
    assert result.seconds < 10


def test_a_slow_one_does_not_hold_up_the_batch_for_ever(batch, ca):
    """At most five seconds are waited for certificates that are still being ordered."""
    original = ca.look_at_challenge

    def look(account, authorization):
        if authorization.identifier == "a.example.org":
            time.sleep(9)
        return original(account, authorization)

    ca.look_at_challenge = look
    agent = batch.agent()
    agent.wait_for(lambda: all(c["activity"] is None for c in batch.status()["certificates"]))
    began = time.monotonic()
    process = subprocess.Popen([batch.binary, "renew", *batch.outs, "--force", "-c", str(batch.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    agent.wait_for(lambda: batch.generation("b") == 2 and lines(batch.notes) == ["renewed"])
    assert time.monotonic() - began < 8
    assert process.wait(30) == 0
    assert lines(batch.notes) == ["renewed", "renewed"]


def test_failed_proof_rolls_back_its_own_certificate_only(batch, ca):
    batch.endpoints["b"].load()
    batch.endpoints["b"].follow = False
    result = batch.renew(*batch.outs, "--force", expect=1)
    assert results_of(result) == {"a": "renewed", "b": "rolled-back", "c": "renewed", "d": "renewed"}
    assert {name: batch.generation(name) for name in batch.outs} == {"a": 2, "b": 1, "c": 2, "d": 2}
    assert lines(batch.notes) == ["renewed", "rolled-back"]


def test_shared_check_failure_blames_only_the_culprit(batch, ca, tmp_path):
    """The check fails while the new files of b are there. Then one by one."""
    (tmp_path / "allowed").write_text((batch.outs["b"] / "fullchain.pem").read_text())
    batch.config["servers"]["app"]["check"] = [
        "/usr/bin/cmp", str(batch.outs["b"] / "fullchain.pem"), str(tmp_path / "allowed")]
    before = pki.sha256(read_pair(batch.outs["b"]))
    result = batch.renew(*batch.outs, "--force", expect=1)
    assert results_of(result) == {"a": "renewed", "b": "rolled-back", "c": "renewed", "d": "renewed"}, result
    assert pki.sha256(read_pair(batch.outs["b"])) == before
    for name in ("a", "c", "d"):
        assert batch.generation(name) == 2
        assert served_sha256(batch.endpoints[name].port) == pki.sha256(read_pair(batch.outs[name]))
    assert len(ca.issued) == 8
    status = {c["name"]: c for c in batch.status()["certificates"]}
    assert status["b"]["failures"] == 1 or status["b"]["error"]
    assert all(status[name]["error"] is None for name in ("a", "c", "d"))


def test_two_servers_of_one_certificate(stubborn, ca, out, make_endpoint, tmp_path):
    """One server will not: the other goes back as well, both serve the same again."""
    good = make_endpoint(out, follow=True)
    before = served_sha256(good.port)
    notes = tmp_path / "good-reloads"
    stubborn.server("good", type="exec", check="off",
                    reload=["/bin/sh", "-c", f"echo x >> {notes}"],
                    prove=[{"connect": good.connect, "deadline": "2s"}])
    stubborn.certificate("www", outputs=[files(out)], servers=["app", "good"])
    result = stubborn.renew("www", "--force", expect=1)
    assert result.one["result"] == "rolled-back"
    assert served_sha256(good.port) == before == pki.sha256(read_pair(out))
    assert lines(notes) == ["x", "x"]


# Signals ----------------------------------------------------------------------------------------------


def test_signal_type(everleaf, ca, out, tmp_path):
    notes, pid_file = tmp_path / "notes", tmp_path / "app.pid"
    program = script(tmp_path / "app", f"trap 'echo HUP >> {notes}' HUP\necho $$ > {pid_file}\n"
                     "while :; do sleep 0.05; done\n")
    process = subprocess.Popen([program], start_new_session=True)
    wait_for(lambda: pid_file.exists() and pid_file.read_text().strip())
    everleaf.server("app", type="signal", pid_file=str(pid_file), signal="HUP", prove="off")
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    try:
        assert everleaf.renew().one["result"] == "renewed"
        wait_for(lambda: lines(notes) == ["HUP"], what="the signal")
    finally:
        stop_process(process, signo=9)
    result = everleaf.renew("www", "--force", expect=(0, 1)).one
    assert result["result"] == "renewed", "a stale pid file: not running"


@pytest.mark.parametrize("content", ["", "abc", "-1", "0", "1", "99999999999999999999", "12 34", "\x1b[31m"])
def test_bad_pid_files(everleaf, ca, out, tmp_path, content):
    pid_file = tmp_path / "app.pid"
    pid_file.write_text(content)
    everleaf.server("app", type="signal", pid_file=str(pid_file), signal="USR1", prove="off")
    everleaf.certificate("www", outputs=[files(out)], servers=["app"])
    result = everleaf.renew(expect=(0, 1))
    assert pki.sha256(read_pair(out)) and "\x1b" not in result.stderr
    if content not in ("", "99999999999999999999"):
        assert result.code == 1 and str(pid_file) in result.one["error"]["text"], result


def test_recycled_pid_of_nginx_is_not_hit(served, ca, nginx, out):
    """The pid file names a process that is no nginx."""
    victim = subprocess.Popen(["/bin/sleep", "300"])
    try:
        nginx.pid_file.write_text(f"{victim.pid}\n")
        result = served.renew("www", "--force", expect=(0, 1, 3))
        assert victim.poll() is None
        assert served.generation() in (1, 2)
        assert pki.sha256(read_pair(out)) == pki.sha256(read_pair(served.live()))
        assert "sleep" in json.dumps(result.json) + result.stderr
    finally:
        victim.kill()
        victim.wait()


# Stops in the middle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["check", "reload"])
def test_kill_during_a_hook_is_resumed(batch, ca, tmp_path, moment):
    """The hook blocks at its first run; the agent is killed there, started again, and goes on."""
    gate, seen = tmp_path / "gate", tmp_path / "seen"
    hook = script(tmp_path / "blocking", f"echo x >> {seen}\nwhile ! test -e {gate}; do sleep 0.02; done\n")
    batch.config["servers"]["app"][moment] = [hook]
    agent = batch.agent()
    agent.wait_for(lambda: all(c["activity"] is None for c in batch.status()["certificates"]))
    process = subprocess.Popen([batch.binary, "renew", "a", "--force", "-c", str(batch.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    agent.wait_for(seen.exists)
    agent.kill()
    process.wait(20)
    gate.touch()
    again = batch.agent()
    again.wait_for(lambda: batch.generation("a") == 2)
    again.wait_for_state("proven", "idle", name="a")
    folder = batch.outs["a"]
    assert pki.sha256(read_pair(folder)) == pki.sha256(read_pair(batch.live("a")))
    assert served_sha256(batch.endpoints["a"].port) == pki.sha256(read_pair(folder))
    assert len(ca.issued) == 5 and len(ca.accounts) == 1


def test_kill_during_the_proof_is_resumed_and_rolled_back(stubborn, ca, out):
    before = served_sha256(stubborn.endpoint.port)
    stubborn.config["servers"]["app"]["prove"][0]["deadline"] = "5s"
    stubborn.write()
    process = subprocess.Popen([stubborn.binary, "renew", "www", "--force", "-c", str(stubborn.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: lines(stubborn.notes) == ["renewed"])
    seen = stubborn.endpoint.handshakes
    wait_for(lambda: stubborn.endpoint.handshakes > seen, what="the proof")
    process.kill()
    process.wait()
    assert stubborn.generation() == 2
    agent = stubborn.agent()
    agent.wait_for(lambda: stubborn.generation() == 1, what="the way back")
    agent.wait_for(lambda: stubborn.one_status()["state"] == "rolled-back")
    assert pki.sha256(read_pair(out)) == before and len(ca.issued) == 2
