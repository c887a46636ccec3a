"""Log lines: fields, identifiers and the journal's catalogue; nothing raw of what strangers say."""

import json
import re
import shutil
import subprocess

import pytest

from fake.ca import problem
from support import ROOT

CATALOG = ROOT / "packaging/systemd/everleaf.catalog"
ENTRY = re.compile(r"^-- ([0-9a-f]{32})$", re.MULTILINE)


def known_events():
    """{event: identifier} of base/log_catalog.c."""
    table = (ROOT / "base/log_catalog.c").read_text()
    return dict(re.findall(r'\{"([^"]+)",\s*"([0-9a-f]{32})"\}', table))


def test_catalogue_and_program_have_the_same_identifiers():
    known = known_events()
    entries = ENTRY.findall(CATALOG.read_text())
    assert len(known) > 10 and sorted(known.values()) == sorted(entries)
    assert len(set(entries)) == len(entries)
    source = "".join(file.read_text() for folder in ("agent", "acme", "hooks", "store", "base")
                     for file in (ROOT / folder).rglob("*.c")
                     if not file.name.endswith("_test.c") and file.name != "log_catalog.c")
    for event in known:
        assert f'"{event}"' in source, f"nobody logs {event!r}"


def test_fields_in_the_catalogue_are_logged():
    """@EVERLEAF_X@ is replaced by a field: one that nobody sets would be shown as it is."""
    source = "".join(file.read_text() for folder in ("agent", "acme") for file in (ROOT / folder).rglob("*.c"))
    source += (ROOT / "base/log.c").read_text()
    for field in set(re.findall(r"@EVERLEAF_(\w+)@", CATALOG.read_text())):
        assert f'"{field.lower()}"' in source, field


@pytest.mark.skipif(not shutil.which("journalctl"), reason="journalctl is not installed")
def test_journald_takes_the_catalogue(tmp_path):
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    shutil.copy(CATALOG, folder)
    update = subprocess.run(["journalctl", "--update-catalog", f"--root={tmp_path}"], capture_output=True, text=True,
                            check=True, timeout=30)
    assert update.stderr == ""
    shown = subprocess.run(["journalctl", "--dump-catalog", f"--root={tmp_path}", "--no-pager"],
                           capture_output=True, text=True, check=True, timeout=30).stdout
    assert len(ENTRY.findall(shown)) == len(known_events())
    assert shown.count("Defined-By: everleaf") == len(known_events())


def test_hostile_text_of_a_ca_stays_in_its_field(everleaf, ca):
    evil = 'no\nMESSAGE_ID=0\r\n{"level":"info"}\x1b[2J\u202e"'
    ca.fault("new-order", problem("rejectedIdentifier", 403, detail=evil), times=1)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    raw = agent.err.read_bytes()
    assert b"\x1b" not in raw and b"\x00" not in raw and "\u202e".encode() not in raw
    lines = [json.loads(line) for line in raw.decode().splitlines()]
    (line,) = [line for line in lines if line["event"] == "renewal failed"]
    assert line["message_id"] == known_events()["renewal failed"]
    assert "no\\x0aMESSAGE_ID=0" in line["error"] or "no\\nMESSAGE_ID=0" in line["error"]
    assert line["certificate"] == "www" and line["issuer"] == "test" and line["step"] == "new-order"
    assert line["kind"] == "refused" and re.fullmatch("[0-9a-f]{16}", line["attempt"])
    assert all(set(line) >= {"time", "level", "event"} for line in lines)
