"""The main way: a certificate from a real Pebble, by `renew` and by `run`."""

import json
import os
import stat

import pytest
from support import EVERLEAF_RELEASE, is_listening, read_pair, served_sha256, wait_for

from fake import pki


@pytest.fixture
def with_pebble(make_everleaf, pebble, http_port):
    return make_everleaf().issuer(pebble).http_01(http_port)


def test_renew_issues_what_is_missing(with_pebble, http_port):
    everleaf = with_pebble.certificate("www", ["www.example.org", "example.org"])
    result = everleaf.renew().one
    assert result["name"] == "www" and result["result"] == "renewed"
    assert result["old"] is None and result["generation"] == 1 and result["error"] is None
    leaf = read_pair(everleaf.live())
    assert pki.names_of(leaf) == {"www.example.org", "example.org"}
    assert result["new"]["sha256"] == pki.sha256(leaf)
    assert sorted(result["new"]["names"]) == ["example.org", "www.example.org"]
    assert result["new"]["key_type"] == "ecdsa-p256"
    assert result["total_ms"] > 0 and result["attempt"]
    assert not is_listening(http_port)
    assert not everleaf.document("order")


def test_a_second_renew_finds_nothing_due(with_pebble):
    everleaf = with_pebble.certificate("www")
    everleaf.renew()
    before = pki.sha256(read_pair(everleaf.live()))
    result = everleaf.renew("www").one
    assert result["result"] == "not-due" and result["next_try"]
    assert everleaf.renew("--due").one["result"] == "not-due"
    assert pki.sha256(read_pair(everleaf.live())) == before and everleaf.generation() == 1
    text = everleaf.run("renew", "www", expect=0).stdout
    assert "www" in text and "not due" in text.lower().replace("-", " ")


def test_force_makes_a_new_key_and_keeps_three_generations(with_pebble):
    everleaf = with_pebble.certificate("www")
    everleaf.renew()
    serials, keys = set(), set()
    for generation in range(2, 6):
        result = everleaf.renew("www", "--force").one
        assert result["result"] == "renewed" and result["generation"] == generation
        assert result["old"]["sha256"] != result["new"]["sha256"]
        serials.add(result["new"]["serial"])
        keys.add((everleaf.live() / "privkey.pem").read_text())
    assert len(serials) == len(keys) == 4
    kept = sorted(os.listdir(everleaf.state / "certificates/www/generations"))
    assert kept == ["000003", "000004", "000005"]
    assert len(everleaf.accounts()) == 1


def test_generation_has_the_files_of_the_manual(with_pebble):
    everleaf = with_pebble.certificate("www")
    everleaf.renew()
    live = everleaf.live()
    assert os.readlink(live) == "../certificates/www/live"
    assert os.readlink(everleaf.state / "certificates/www/live") == "generations/000001"
    assert {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "bundle.json"} <= set(os.listdir(live))
    assert stat.S_IMODE(os.stat(live / "privkey.pem").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(everleaf.state).st_mode) == 0o700
    json.loads((live / "bundle.json").read_text())
    (account,) = everleaf.accounts()
    assert stat.S_IMODE(os.stat(account.parent / "key.pem").st_mode) == 0o600
    history = (everleaf.state / "certificates/www/history.jsonl").read_text().splitlines()
    assert history and all(json.loads(line) for line in history)
    everyone = [p for p in everleaf.state.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o077]
    assert everyone == []


def test_webroot_leaves_nothing_behind(make_everleaf, pebble, nginx, tmp_path, http_port):
    webroot = tmp_path / "html"
    webroot.mkdir()
    nginx.extra = f"server {{ listen 127.0.0.1:{http_port}; root {webroot}; }}"
    nginx.start()
    wait_for(lambda: is_listening(http_port), what="nginx on the http-01 port")
    tmp_path.chmod(0o755)
    everleaf = make_everleaf().issuer(pebble).webroot(webroot).certificate("www")
    assert everleaf.renew().one["result"] == "renewed"
    assert list((webroot / ".well-known/acme-challenge").glob("*")) == []


def test_run_issues_and_serves_status(with_pebble):
    everleaf = with_pebble.certificate("a").certificate("b").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200, what="/readyz")
    status = everleaf.status()
    assert status["exit"] == 0 and status["agent"]["running"] and status["agent"]["pid"] == agent.pid
    assert [c["name"] for c in status["certificates"]] == ["a", "b"]
    for name in "ab":
        read_pair(everleaf.live(name))
    assert agent.stop() == 0


def test_forced_renewal_through_the_agent(with_pebble):
    everleaf = with_pebble.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1 and everleaf.one_status()["activity"] is None)
    result = everleaf.renew("www", "--force")
    assert result.json["by"] == "agent"
    assert result.one["result"] == "renewed" and result.one["generation"] == 2
    assert everleaf.renew("www").one["result"] == "not-due"


@pytest.mark.parametrize("key_type", ["ecdsa-p384", "rsa-2048"])
def test_key_types(with_pebble, key_type):
    everleaf = with_pebble.certificate("www", key={"type": key_type})
    assert everleaf.renew().one["new"]["key_type"] == key_type
    read_pair(everleaf.live())


def test_key_reuse_keeps_the_key(with_pebble):
    everleaf = with_pebble.certificate("www", key={"type": "ecdsa-p256", "reuse": True})
    everleaf.renew()
    key = (everleaf.live() / "privkey.pem").read_text()
    assert everleaf.renew("--force", "www").one["generation"] == 2
    assert (everleaf.live() / "privkey.pem").read_text() == key


def test_ip_identifiers_and_international_names(with_pebble):
    everleaf = with_pebble.certificate("www", ["127.0.0.1", "b\u00fccher.example.org"])
    everleaf.renew()
    assert pki.names_of(read_pair(everleaf.live())) == {"127.0.0.1", "xn--bcher-kva.example.org"}


def test_another_name_in_the_configuration_is_due_at_once(with_pebble):
    everleaf = with_pebble.certificate("www", ["www.example.org"])
    everleaf.renew()
    everleaf.certificate("www", ["example.org", "www.example.org"])
    assert everleaf.renew().one["result"] == "renewed"
    assert pki.names_of(read_pair(everleaf.live())) == {"www.example.org", "example.org"}
    everleaf.certificate("www", ["WWW.example.org", "example.org"])
    assert everleaf.renew().one["result"] == "not-due"


def test_another_key_type_is_due_at_once(with_pebble):
    everleaf = with_pebble.certificate("www")
    everleaf.renew()
    everleaf.certificate("www", key={"type": "ecdsa-p384"})
    assert everleaf.renew().one["new"]["key_type"] == "ecdsa-p384"


def test_lost_live_files_are_replaced(with_pebble):
    everleaf = with_pebble.certificate("www")
    everleaf.renew()
    (everleaf.live() / "privkey.pem").unlink()
    assert everleaf.renew().one["result"] == "renewed"
    read_pair(everleaf.live())


def test_profile_is_asked_for_where_it_is_offered(make_everleaf, make_pebble, http_port):
    pebble = make_pebble("2.10")
    everleaf = make_everleaf().issuer(pebble, profile="shortlived").http_01(http_port)
    everleaf.certificate("www").renew()
    leaf = read_pair(everleaf.live())
    assert (leaf.not_valid_after - leaf.not_valid_before).days in (5, 6)


def test_external_account(make_everleaf, make_pebble, http_port, tmp_path):
    mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    pebble = make_pebble("2.4", externalAccountBindingRequired=True, externalAccountMACKeys={"kid-1": mac})
    (tmp_path / "mac").write_text(mac + "\n")
    (tmp_path / "mac").chmod(0o600)
    everleaf = make_everleaf().http_01(http_port).certificate("www")
    everleaf.issuer(pebble)
    result = everleaf.renew(expect=3)
    assert "external account" in result.one["error"]["text"], result
    everleaf.issuer(pebble, eab={"kid": "kid-1", "hmac": {"file": str(tmp_path / "mac")}})
    assert everleaf.renew("www").one["result"] == "renewed"
    shown = everleaf.run("status", "www", expect=0)
    assert mac not in shown.stdout + shown.stderr + everleaf.run("renew", "-v").stderr


def test_half_of_all_nonces_are_refused(make_everleaf, make_pebble, http_port):
    pebble = make_pebble("2.10", env={"PEBBLE_WFE_NONCEREJECT": "50"})
    everleaf = make_everleaf().issuer(pebble).http_01(http_port)
    for i in range(10):
        everleaf.certificate(f"c{i}")
    assert {r["result"] for r in everleaf.renew().json["results"]} == {"renewed"}


def test_the_ca_forgot_the_account(make_everleaf, make_pebble, http_port):
    """Pebble keeps everything in memory: after a restart it knows nobody."""
    pebble = make_pebble("2.4")
    everleaf = make_everleaf().issuer(pebble).http_01(http_port).certificate("www")
    everleaf.renew()
    pebble.stop()
    pebble.start()
    assert everleaf.renew("--force", "www").one["result"] == "renewed"
    assert everleaf.generation() == 2


def test_environment_instead_of_a_file(make_everleaf, pebble, http_port, tmp_path):
    everleaf = make_everleaf()
    out = tmp_path / "out"
    env = {
        "EVERLEAF_NAMES": "www.example.org,example.org",
        "EVERLEAF_DIRECTORY": pebble.directory,
        "EVERLEAF_CA_FILE": str(pebble.ca_file),
        "EVERLEAF_TERMS_AGREED": "true",
        "EVERLEAF_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "EVERLEAF_OUTPUT_DIR": str(out),
        "EVERLEAF_STATE_DIR": str(tmp_path / "state"),
        "RUNTIME_DIRECTORY": str(tmp_path),
    }
    result = everleaf.run("renew", "--json", config=False, env=env, expect=0)
    assert result.one["result"] == "renewed"
    assert pki.names_of(read_pair(out)) == {"www.example.org", "example.org"}


def test_nothing_is_configured(make_everleaf):
    everleaf = make_everleaf().listen()
    everleaf.config["issuers"] = {"test": {"directory": "https://127.0.0.1:1/d", "terms_agreed": True}}
    assert everleaf.renew().json["results"] == []
    agent = everleaf.agent()
    assert agent.get("/readyz")[0] == 200
    assert everleaf.status()["exit"] == 0
    assert agent.stop() == 0


def test_two_hundred_certificates(make_everleaf, make_pebble, http_port):
    pebble = make_pebble("2.10", env={"PEBBLE_WFE_NONCEREJECT": "50"})
    everleaf = make_everleaf(binary=EVERLEAF_RELEASE).issuer(pebble).http_01(http_port)
    for i in range(200):
        everleaf.certificate(f"c{i:03}")
    result = everleaf.renew(timeout=120)
    assert [r["result"] for r in result.json["results"]] == ["renewed"] * 200
    assert len({r["new"]["serial"] for r in result.json["results"]}) == 200
    assert len(everleaf.accounts()) == 1


def test_nginx_serves_it_and_it_is_proven(with_pebble, nginx, tmp_path):
    folder = tmp_path / "tls"
    nginx.self_signed(folder)
    port = nginx.site(folder)
    nginx.start()
    everleaf = with_pebble.server("web", **nginx.settings())
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(tmp_path / "out")}], servers=["web"])
    nginx.sites = [(tmp_path / "out", "www.example.org", port)]
    nginx.write()
    result = everleaf.renew().one
    assert result["proven"] is True and result["reload_ms"] is not None
    assert served_sha256(port) == result["new"]["sha256"]
