"""Outputs: which files appear where, whose they are, and when they are left alone."""

import grp
import os
import pwd
import stat
import threading

import pytest
from support import read_pair

from fake import pki

FILES = {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem"}


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def visible(folder):
    return {name for name in os.listdir(folder) if not name.startswith(".")}


@pytest.mark.parametrize("layout", [None, "plain"])
def test_files(everleaf, ca, tmp_path, layout):
    out = tmp_path / "tls/www"
    out.parent.mkdir()
    settings = {"layout": layout} if layout else {}
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out), **settings}])
    everleaf.renew()
    leaf = read_pair(out)
    assert FILES <= visible(out)
    assert mode(out / "privkey.pem") == 0o600 and mode(out / "cert.pem") & 0o022 == 0
    for name in FILES:
        assert (out / name).is_symlink() == (layout is None)
        assert (out / name).read_text() == (everleaf.live() / name).read_text()
    assert (out / "..data").is_symlink() == (layout is None)
    everleaf.renew("www", "--force")
    assert pki.sha256(read_pair(out)) != pki.sha256(leaf)
    assert FILES <= visible(out)
    hidden = {n for n in os.listdir(out) if n.startswith(".") and n != "..data"}
    if layout is None:
        # The one before is kept for readers that opened it.
        assert os.readlink(out / "..data").split("/")[0] in hidden and len(hidden) <= 2
    else:
        assert not hidden and visible(out) <= FILES | {"ocsp.der", "nginx-stapling.conf", "bundle.json"}
    everleaf.renew("www", "--force")
    assert len([n for n in os.listdir(out) if n.startswith("..")]) <= 3
    status = everleaf.one_status()
    assert status["outputs"] == [{"type": "files", "path": str(out), "generation": 3, "error": None}]


def test_a_reader_of_the_default_layout_never_sees_a_mixed_pair(everleaf, ca, tmp_path):
    out = tmp_path / "out"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out)}])
    everleaf.renew()
    stop, reads, errors = threading.Event(), [0], []

    def reader():
        while not stop.is_set():
            try:
                read_pair(out / "..data")
                read_pair(everleaf.live())
                reads[0] += 1
            except (AssertionError, OSError) as e:
                errors.append(e)

    thread = threading.Thread(target=reader)
    thread.start()
    for _ in range(3):
        everleaf.renew("www", "--force")
    stop.set()
    thread.join()
    # A folder that was opened just before it was removed, three generations later, has no files.
    assert [e for e in errors if not isinstance(e, FileNotFoundError)] == [] and reads[0] > 10


@pytest.mark.parametrize("order", [["key", "cert", "chain"], ["cert", "chain", "key"], None])
def test_combined(everleaf, ca, tmp_path, order):
    path = tmp_path / "www.pem"
    settings = {"order": order} if order else {}
    everleaf.certificate("www", outputs=[{"type": "combined", "path": str(path), **settings}])
    everleaf.renew()
    text = path.read_text()
    leaf = read_pair(everleaf.live())
    live = {part: (everleaf.live() / name).read_text() for part, name in
            (("key", "privkey.pem"), ("cert", "cert.pem"), ("chain", "chain.pem"))}
    if order:
        assert text == "".join(live[part] for part in order)
    assert all(part in text for part in live.values())
    assert pki.certificates(text[text.index("-----BEGIN CERT"):].replace(live["key"], ""))[0] == leaf
    assert mode(path) == 0o600
    assert [p.name for p in tmp_path.iterdir() if "www.pem" in p.name] == ["www.pem"]


def test_modes_and_owners(everleaf, ca, tmp_path):
    if os.getuid() != 0:
        pytest.skip("giving files away needs root")
    owner, group = pwd.getpwnam("daemon"), grp.getgrnam("www-data")
    out, combined = tmp_path / "out", tmp_path / "c.pem"
    everleaf.certificate("www", outputs=[
        {"type": "files", "dir": str(out), "owner": "daemon", "group": "www-data", "key_mode": "0640"},
        {"type": "combined", "path": str(combined), "group": "www-data", "mode": "0640"},
    ])
    everleaf.renew()
    key = os.stat(out / "privkey.pem")
    assert (key.st_uid, key.st_gid, stat.S_IMODE(key.st_mode)) == (owner.pw_uid, group.gr_gid, 0o640)
    assert os.stat(combined).st_gid == group.gr_gid and mode(combined) == 0o640
    # Same content, other rights: brought in line without another certificate.
    everleaf.certificate("www", outputs=[
        {"type": "files", "dir": str(out), "owner": "daemon", "group": "www-data", "key_mode": "0600"}])
    agent = everleaf.agent()
    agent.wait_for(lambda: mode(out / "privkey.pem") == 0o600, what="the new mode")
    assert everleaf.generation() == 1


def test_outputs_that_are_right_are_not_touched(everleaf, ca, tmp_path):
    out = tmp_path / "out"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out), "layout": "plain"}])
    everleaf.renew()
    before = {name: os.stat(out / name).st_mtime_ns for name in FILES}
    agent = everleaf.agent()
    agent.wait_for_state("idle", "proven", "deployed")
    everleaf.renew("www")
    agent.stop()
    assert {name: os.stat(out / name).st_mtime_ns for name in FILES} == before


def test_a_new_output_is_filled_from_the_live_generation(everleaf, ca, tmp_path):
    everleaf.certificate("www").renew()
    out = tmp_path / "out"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out)}])
    agent = everleaf.agent()
    agent.wait_for(lambda: all((out / name).exists() for name in FILES), what="the output")
    assert pki.sha256(read_pair(out)) == pki.sha256(read_pair(everleaf.live()))
    assert len(ca.issued) == 1


def test_a_lost_output_is_written_again(everleaf, ca, tmp_path):
    out = tmp_path / "c.pem"
    everleaf.certificate("www", outputs=[{"type": "combined", "path": str(out)}])
    everleaf.renew()
    out.unlink()
    agent = everleaf.agent()
    agent.wait_for(out.exists, what="the output")
    assert len(ca.issued) == 1


def test_an_output_that_cannot_be_written_puts_the_old_one_back(everleaf, ca, tmp_path):
    """A folder stands where the file belongs: root cannot be stopped by modes."""
    good, bad = tmp_path / "good", tmp_path / "bad.pem"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(good)}])
    everleaf.renew()
    before = pki.sha256(read_pair(good))
    bad.mkdir()
    (bad / "x").write_text("")
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(good)},
                                         {"type": "combined", "path": str(bad)}])
    result = everleaf.renew("www", "--force", expect=1)
    assert result.one["result"] == "rolled-back", result
    assert str(bad) in result.one["error"]["text"]
    assert pki.sha256(read_pair(good)) == pki.sha256(read_pair(everleaf.live())) == before
    rows = {row["path"]: row for row in everleaf.one_status()["outputs"]}
    assert rows[str(bad)]["error"] and rows[str(good)]["generation"] == 1
    (bad / "x").unlink()
    bad.rmdir()
    everleaf.edit_document("deploy", lambda d: d.update(next_try="2020-01-01T00:00:00Z"))
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 2, what="the deployment to be tried again")
    assert len(ca.issued) == 2, "a deployment never costs an order"


def test_missing_parent_folder_is_made_or_told(everleaf, ca, tmp_path):
    out = tmp_path / "a/b/c"
    everleaf.certificate("www", outputs=[{"type": "files", "dir": str(out)}])
    result = everleaf.renew(expect=(0, 1, 3))
    if result.code:
        assert str(out) in result.one["error"]["text"]
    else:
        read_pair(out)
