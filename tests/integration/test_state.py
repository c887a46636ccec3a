"""The state directory: whose it is, what may be in it, what happens when the disk does not play along."""

import json
import os
import pwd
import stat
import subprocess
import sys

import pytest
from support import open_to_everybody, read_pair

from fake import pki

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


@needs_root
def test_root_works_as_the_owner_of_the_state(everleaf, ca):
    daemon = pwd.getpwnam("daemon")
    everleaf.state.mkdir(mode=0o700)
    os.chown(everleaf.state, daemon.pw_uid, daemon.pw_gid)
    everleaf.certificate("www").renew()
    everleaf.renew("www", "--force")
    foreign = [p for p in [everleaf.state, *everleaf.state.rglob("*")]
               if (p.lstat().st_uid, p.lstat().st_gid) != (daemon.pw_uid, daemon.pw_gid)]
    assert foreign == []


def test_group_may_read_when_the_folder_says_so(everleaf, ca):
    everleaf.state.mkdir(mode=0o750)
    os.chmod(everleaf.state, 0o750)
    everleaf.certificate("www").renew()
    key = everleaf.live() / "privkey.pem"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o640
    for folder in [everleaf.state / "live", *everleaf.live().resolve().parents]:
        if everleaf.state in folder.parents:
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o750, folder
    (account,) = everleaf.accounts()
    assert stat.S_IMODE(os.stat(account.parent / "key.pem").st_mode) == 0o600
    others = [p for p in everleaf.state.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o007]
    assert others == []


@pytest.mark.parametrize("part", ["certificates", "certificates/www", "accounts", "live",
                                  "certificates/www/generations"])
def test_symbolic_links_inside_are_not_followed(everleaf, ca, tmp_path, part):
    everleaf.certificate("www").renew()
    elsewhere = tmp_path / "elsewhere"
    path = everleaf.state / part
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = {p: p.lstat().st_mtime_ns for p in [elsewhere, *elsewhere.rglob("*")]}
    result = everleaf.run("renew", "www", "--force", "--json")
    assert result.code in (1, 3, 4) and result.json["exit"] == result.code, result
    assert {p: p.lstat().st_mtime_ns for p in [elsewhere, *elsewhere.rglob("*")]} == before


@needs_root
def test_status_without_permission_cannot_be_found_out(everleaf, ca):
    everleaf.certificate("www").renew()
    open_to_everybody(everleaf)
    for argument in ([], ["--json"]):
        script = (f"import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
                  f"os.execv({os.path.abspath(everleaf.binary)!r}, ['everleaf', 'status', *{argument!r}, "
                  f"'-c', {str(everleaf.file)!r}])")
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30,
                                check=False)
        assert result.returncode == 4, result
        assert str(everleaf.state) in result.stdout + result.stderr


def test_disk_is_full(everleaf, ca, tmp_path):
    """A limit on file sizes stands for it: every write fails after a few bytes."""
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(tmp_path / "out")}]).renew()
    before = pki.sha256(read_pair(tmp_path / "out"))
    result = everleaf.run("renew", "www", "--force", "--json", prefix=[
        "/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh"])
    assert result.code in (1, 3, 4)
    assert pki.sha256(read_pair(tmp_path / "out")) == pki.sha256(read_pair(everleaf.live())) == before
    assert everleaf.renew("www", "--force").one["result"] == "renewed"
    assert len(ca.accounts) == 1


def test_few_file_descriptors(everleaf, ca):
    for i in range(10):
        everleaf.certificate(f"c{i}")
    everleaf.write()
    result = everleaf.run("renew", "--json", prefix=["/bin/sh", "-c", 'ulimit -n 48; exec "$@"', "sh"])
    assert result.code in (0, 3), result
    again = everleaf.renew()
    assert {r["result"] for r in again.json["results"]} <= {"renewed", "not-due"}
    assert len(ca.accounts) == 1


def test_state_folder_is_made_with_its_parents_or_told(everleaf, ca, tmp_path):
    everleaf.config["agent"]["state_dir"] = str(tmp_path / "a/b/state")
    everleaf.certificate("www").write()
    result = everleaf.run("renew", "--json")
    assert result.code == 0 or str(tmp_path / "a") in result.stdout + result.stderr


def test_state_that_is_a_file(everleaf, ca):
    everleaf.state.write_text("")
    everleaf.certificate("www").write()
    result = everleaf.run("renew", "--json", expect=(3, 4))
    assert str(everleaf.state) in result.stdout + result.stderr


def test_two_directories_never_mix(everleaf, ca, make_ca, http_port):
    """Accounts are kept by directory URL; another directory is a reason to renew."""
    everleaf.certificate("www").renew()
    other = make_ca(http_port, name="other")
    everleaf.issuer(other)
    result = everleaf.renew().one
    assert result["result"] == "renewed" and len(other.issued) == 1
    assert everleaf.one_status()["live"]["sha256"] == pki.sha256(other.issued[0][1])
    assert len(everleaf.accounts()) == 2
    urls = {json.loads(path.read_text())["url"] for path in everleaf.accounts()}
    assert {url.split("/account")[0] for url in urls} == {ca.base, other.base}


def test_damaged_live_key_is_never_served_again(everleaf, ca):
    """The key of the live generation was replaced by another one."""
    everleaf.certificate("www").renew()
    (everleaf.live() / "privkey.pem").write_text(pki.key_pem(pki.new_key()))
    status = everleaf.one_status()
    assert status["exit"] in (1, 3)
    assert everleaf.renew().one["result"] == "renewed"
    read_pair(everleaf.live())


# Logs -------------------------------------------------------------------------------------------------


def test_log_lines_of_a_service_are_json(everleaf, ca):
    everleaf.config["agent"]["log"] = {"level": "debug", "format": "auto"}
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    everleaf.renew("www", "--force")
    assert agent.stop() == 0
    lines = [json.loads(line) for line in agent.err.read_text().splitlines()]
    assert len(lines) > 5 and all({"time", "level", "event"} <= set(line) for line in lines)
    issued = [line for line in lines if line.get("certificate") == "www" and line.get("attempt")]
    assert issued and agent.out.read_text() == ""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_log_level_and_text(everleaf, ca, level):
    everleaf.config["agent"]["log"] = {"level": level, "format": "text"}
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    agent.stop()
    assert ("issued" in agent.log) == (level in ("debug", "info"))
    assert "{" not in agent.log.split("\n")[0]


def test_no_key_in_the_most_talkative_log(everleaf, ca, tmp_path):
    mac = "c2VjcmV0LW9mLXRoZS1leHRlcm5hbC1hY2NvdW50"
    (tmp_path / "mac").write_text(mac)
    (tmp_path / "mac").chmod(0o600)
    ca.eab_keys = {"kid-1": b"secret-of-the-external-account"}
    everleaf.config["issuers"]["test"]["eab"] = {"kid": "kid-1", "hmac": {"file": str(tmp_path / "mac")}}
    everleaf.config["agent"]["log"] = {"level": "debug"}
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    (account,) = everleaf.accounts()
    secrets = [mac, "secret-of-the-external-account"]
    for file in (account.parent / "key.pem", everleaf.live() / "privkey.pem"):
        secrets += file.read_text().splitlines()[1:-1]
    shown = [agent.log, everleaf.run("status", "www").stdout, json.dumps(everleaf.status("www"))]
    shown += [agent.get(path)[1] for path in ("/", "/status", "/metrics")]
    shown += [(everleaf.state / "certificates/www/history.jsonl").read_text()]
    with open(f"/proc/{agent.pid}/cmdline") as file:
        shown.append(file.read())
    for text in shown:
        assert not any(secret in text for secret in secrets)
