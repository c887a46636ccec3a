"""Verbs, options, exit codes, and that --json puts exactly one document on stdout."""

import json
import os
import pty
import subprocess

import pytest
from support import clean_environment, wait_for

from fake import pki

VERBS = ["run", "renew", "status", "check", "inspect", "completion", "version"]


def test_version(make_everleaf):
    everleaf = make_everleaf()
    assert everleaf.run("version", config=False, expect=0).stdout.startswith("everleaf 0.")
    assert json.loads(everleaf.run("version", "--json", config=False, expect=0).stdout)


def test_help_lists_every_verb(make_everleaf):
    everleaf = make_everleaf()
    for argument in ("--help", "-h", "help"):
        result = everleaf.run(argument, config=False)
        if argument != "help":
            assert result.code == 0 and all(verb in result.stdout for verb in VERBS)
            assert result.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_examples(make_everleaf, verb):
    result = make_everleaf().run(verb, "--help", config=False, expect=0)
    assert f"everleaf {verb}" in result.stdout and "--json" in result.stdout or verb == "run"
    assert "xample" in result.stdout and result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["renew", "--nonsense"], ["status", "a", "b"], ["inspect"], ["check", "a", "b"],
    ["version", "extra"], ["-c"], ["renew", "-c"], ["--version-nonsense"], ["run", "surplus"],
    ["inspect", "a", "b"]])
def test_wrong_usage(make_everleaf, arguments):
    result = make_everleaf().run(*arguments, config=False, expect=2)
    assert result.stdout == "" and result.stderr


def test_unknown_verb_is_guessed(make_everleaf):
    assert "renew" in make_everleaf().run("renwe", config=False, expect=2).stderr


@pytest.mark.parametrize("verb", ["renew", "status", "run", "check"])
def test_missing_configuration_is_usage(make_everleaf, tmp_path, verb):
    everleaf = make_everleaf()
    missing = tmp_path / "nowhere.yaml"
    result = everleaf.run(verb, "-c", missing, config=False, expect=2)
    assert str(missing) in result.stdout + result.stderr


@pytest.mark.parametrize("verb,schema", [
    ("renew", "everleaf.renew/1"), ("status", "everleaf.status/1"), ("check", "everleaf.check/1")])
def test_errors_are_inside_the_document(make_everleaf, verb, schema):
    everleaf = make_everleaf()
    everleaf.write("certificates: {www: {nmaes: [a.example.org]}}\n")
    result = everleaf.run(verb, "--json", expect=2)
    document = json.loads(result.stdout)
    assert document["schema"] == schema and document["exit"] == 2


def test_unknown_certificate_is_usage_with_a_suggestion(everleaf, ca):
    everleaf.certificate("www")
    for verb in ("renew", "status"):
        result = everleaf.run(verb, "wwww", expect=2)
        assert "wwww" in result.stderr and "www" in result.stderr.replace("wwww", "")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    assert everleaf.run("renew", "wwww", expect=2).stderr
    assert everleaf.run("status", "wwww", expect=2).stderr


def test_options_may_stand_anywhere_after_the_verb(everleaf, ca):
    everleaf.certificate("www").write()
    result = everleaf.run("renew", "www", "--force", "--json", "-c", everleaf.file, "-v", config=False,
                          expect=0)
    assert result.one["result"] == "renewed"
    env = {"EVERLEAF_CONFIG": str(everleaf.file)}
    assert everleaf.run("status", "--json", "www", config=False, env=env, expect=0).json["exit"] == 0


def test_status_table_without_agent(everleaf, ca):
    everleaf.certificate("www").certificate("mail")
    everleaf.run("renew", "www", expect=0)
    result = everleaf.run("status", expect=3)
    lines = result.stdout.splitlines()
    assert any("www" in line and "www.example.org" not in line.split()[0] for line in lines)
    assert any("mail" in line and "missing" in line for line in lines)
    assert "\x1b" not in result.stdout
    detail = everleaf.run("status", "www", expect=0).stdout
    serial = f"{ca.issued[0][1].serial_number:x}"
    assert serial in detail.replace(":", "").lower()
    assert "issued" in detail


def test_status_document(everleaf, ca, tmp_path):
    everleaf.certificate("www", outputs=[{"type": "combined", "path": str(tmp_path / "c.pem")}])
    empty = everleaf.status(expect=3)
    assert empty["certificates"][0]["state"] == "missing" and empty["certificates"][0]["live"] is None
    everleaf.renew()
    document = everleaf.status("www", expect=0)
    assert set(document) >= {"schema", "version", "time", "exit", "agent", "certificates", "monitor",
                             "issuers"}
    assert document["schema"] == "everleaf.status/1" and document["agent"]["running"] is False
    assert document["agent"]["config"]["ok"] is True
    assert document["agent"]["config"]["file"] == str(everleaf.file)
    (certificate,) = document["certificates"]
    assert set(certificate) >= {
        "name", "managed", "names", "issuer", "exit", "activity", "state", "generation",
        "newest_generation", "live", "staple", "renew", "failures", "next_try", "error", "outputs",
        "servers", "history"}
    live = certificate["live"]
    assert set(live) >= {"serial", "sha256", "names", "issuer_cn", "key_type", "not_before", "not_after",
                         "revoked"}
    assert live["issuer_cn"] == "Fake Intermediate" and live["revoked"] is False
    assert set(certificate["renew"]) >= {"at", "reason", "ari"}
    assert certificate["history"] and set(certificate["history"][0]) >= {"at", "event", "attempt", "text"}
    assert certificate["managed"] is True and certificate["exit"] == 0
    (issuer,) = document["issuers"]
    assert set(issuer) >= {"name", "directory", "account", "paused", "limits"}
    assert issuer["account"].startswith(ca.base)
    assert "history" not in everleaf.status()["certificates"][0]


def test_status_of_an_expired_certificate(everleaf, ca):
    """Its successor cannot be had; 3 although nothing else is wrong."""
    ca.not_before = pki.now() - 89 * pki.DAY
    ca.lifetime = 89 * pki.DAY + pki.SECOND * 2
    everleaf.certificate("www").renew()
    assert everleaf.run("status").code == 0
    wait_for(lambda: everleaf.run("status").code == 3, what="its end")
    result = everleaf.renew(expect=(0, 3))
    ca.lifetime, ca.not_before = 90 * pki.DAY, None
    if result.code == 3:
        assert everleaf.renew("www").one["result"] == "renewed"
    assert everleaf.run("renew", "www", "--force", expect=0) and everleaf.run("status").code == 0


def test_progress_and_colour_only_on_a_terminal(everleaf, ca):
    everleaf.certificate("www").write()
    plain = everleaf.run("renew", "www", "--force", expect=0)
    assert "\x1b" not in plain.stdout + plain.stderr and "\r" not in plain.stdout + plain.stderr

    def on_terminal(*arguments):
        master, slave = pty.openpty()
        process = subprocess.Popen([everleaf.binary, *arguments, "-c", str(everleaf.file)], stdin=slave,
                                   stdout=slave, stderr=slave, env=clean_environment(TERM="xterm"))
        os.close(slave)
        text = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:
                break
            if not chunk:
                break
            text += chunk
        os.close(master)
        return process.wait(), text.decode()

    code, text = on_terminal("renew", "www", "--force")
    assert code == 0 and "www" in text
    code, text = on_terminal("status", "--no-color")
    assert code == 0 and "\x1b[3" not in text


@pytest.mark.parametrize("fds", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files(everleaf, ca, fds):
    everleaf.certificate("www").write()
    env = clean_environment()
    env["ASAN_OPTIONS"] += ":detect_leaks=0"
    command = f'exec "$0" renew -c "$1" {fds}'
    code = subprocess.run(["/bin/sh", "-c", command, everleaf.binary, str(everleaf.file)], env=env,
                          timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    assert code == 0 and everleaf.generation() == 1


def test_broken_pipe(everleaf, ca):
    everleaf.certificate("www").write()
    process = subprocess.Popen([everleaf.binary, "renew", "--json", "-c", str(everleaf.file)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment())
    process.stdout.close()
    process.wait(60)
    assert everleaf.generation() == 1 and process.returncode >= 0
