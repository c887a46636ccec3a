"""Every server type against the real program: good reload, broken configuration, bad pair, refused reload,
rollback, under load. What was seen is written to build/servers.md; a cell that is not green fails."""

import fcntl
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from real_servers import NAME, SERVERS, HaproxyRuntime, Load
from support import ROOT, read_pair, wait_for

from fake import pki

RESULTS = ROOT / "build/servers"
CELLS = ["check", "good reload", "bad pair", "refused reload", "rollback", "under load"]

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="real servers are started by root")


def write_table():
    rows = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    lines = ["| server | " + " | ".join(CELLS) + " |", "|" + "---|" * (len(CELLS) + 1)]
    for row in rows:
        lines.append(f"| {row['title']} | " + " | ".join(row["cells"].get(cell, "") for cell in CELLS) + " |")
    (RESULTS.parent / "servers.md").write_text("\n".join(lines) + "\n")


class Row:
    """The cells of one type; each is a test of its own, and all are run."""

    def __init__(self, title):
        self.title, self.cells, self.errors = title, {}, []

    def cell(self, name, function):
        try:
            self.cells[name] = function() or "yes"
        except Exception as e:  # the others are looked at all the same
            self.cells[name] = "NO"
            self.errors.append(f"{name}: {e}")

    def write(self):
        RESULTS.mkdir(parents=True, exist_ok=True)
        with open(RESULTS / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            name = "".join(c if c.isalnum() else "-" for c in self.title)
            (RESULTS / f"{name}.json").write_text(json.dumps({"title": self.title, "cells": self.cells}))
            write_table()


@pytest.fixture
def place():
    """Where other users can read: pytest's own folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="everleaf-server-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Conformance:
    def __init__(self, server, everleaf, ca):
        self.server, self.everleaf, self.ca = server, everleaf, ca

    def configure(self, **more):
        self.everleaf.server("srv", **self.server.everleaf(**more))
        self.everleaf.certificate("www", outputs=self.server.outputs(), servers=["srv"])

    def serves(self, sha256):
        wait_for(lambda: self.shows() == sha256, 10, "the certificate to be served")
        wait_for(self.server.is_well, 10, "the server to be well")

    def shows(self):
        try:
            return self.server.leaf()
        except OSError:
            return None

    def on_disk(self):
        return pki.sha256(read_pair(self.server.out))

    def good_reload(self):
        before = self.on_disk()
        self.serves(before)
        result = self.everleaf.renew("www", "--force")
        assert result.one["new"]["sha256"] != before and result.one["proven"] is True, result
        self.serves(result.one["new"]["sha256"])

    def check(self):
        if not self.server.checks:
            return "has none"
        before = self.on_disk()
        self.server.broken = True
        self.server.write()
        try:
            result = self.everleaf.renew("www", "--force", expect=1)
            assert result.one["error"]["problem"] == "server_config", result
            assert self.on_disk() == before, "nothing was written"
            self.serves(before)
        finally:
            self.server.broken = False
            self.server.write()
        result = self.everleaf.renew("www")
        self.serves(result.one["new"]["sha256"] if result.one["new"] else self.on_disk())
        assert self.on_disk() != before, "and now it is"

    def bad_pair(self):
        before = self.on_disk()
        issue, key = self.ca.issue, pki.new_key()
        self.ca.issue = lambda order, csr: [
            pki.pem(self.ca.make_leaf(csr, key=key)) + self.ca.intermediate.pem]
        result = self.everleaf.renew("www", "--force", expect=1)
        self.ca.issue = issue
        assert result.one["result"] == "failed" and self.on_disk() == before, result
        self.serves(before)

    def refused(self, row):
        """A new certificate that does not match the key the server reads."""
        server = self.server
        server.stop()
        server.own_key()
        server.start()
        before = self.on_disk()
        self.serves(before)

        def refused(**more):
            self.configure(prove=[server.endpoint(deadline="3s")], **more)
            result = self.everleaf.renew("www", "--force", expect=1)
            assert result.one["result"] == "rolled-back" and self.on_disk() == before, result
            return result.one["error"]

        def reload():
            error = refused()
            if server.checks_pairs:
                assert error["step"] == "check", error
            self.serves(before)
            return "yes, by the check" if server.checks_pairs else "yes"

        def rollback():
            if server.checks_pairs and server.refuses and server.program not in ("apache2", "lighttpd"):
                error = refused(check="off")  # now its reload has to say no
                assert error["step"] in ("reload", "prove"), error
            self.serves(before)
            server.stop()
            server.key = server.out / "privkey.pem"
            server.start()
            self.configure()
            self.everleaf.renew("www", "--force")
            self.serves(self.on_disk())
            assert self.on_disk() != before

        row.cells["rollback"] = "NO"
        seen = reload()
        row.cell("rollback", rollback)
        return seen

    def renewals_under_load(self):
        self.serves(self.on_disk())
        before = self.on_disk()
        seen = [before]
        with Load(self.server) as load:
            for _ in range(3):
                result = self.everleaf.renew("www", "--force")
                seen.append(result.one["new"]["sha256"])
                wait_for(lambda: seen[-1] in load.leaves, 10, "a client to see it")
        # Workers that still drain may show what was there even before.
        assert [leaf for leaf in load.leaves if leaf in seen] == seen
        return load

    def under_load(self):
        """Servers that hand their sockets from old to new workers lose a connection once in many
        reloads, whoever asks for them; what we do wrong loses some each time. So a loss is told, and
        only one that comes back is a failure."""
        done = lost = 0
        for _ in range(3):
            load = self.renewals_under_load()
            done, lost = done + load.done, lost + len(load.failures)
            if not load.failures:
                return f"{done} requests, {lost} failed"
        assert self.server.loses and lost <= done / 50, f"{lost} of {done}: {load.failures[:3]}"
        return f"{done} requests, {lost} failed: its reload loses some"


@pytest.mark.parametrize("server_class", SERVERS, ids=lambda c: c.__name__.lower())
def test_server_type(server_class, everleaf, ca, place):
    if not server_class.is_installed():
        pytest.skip(f"{server_class.program} is not installed")
    server = server_class(place / "server")
    row = Row(server.title or server.type)
    conformance = Conformance(server, everleaf, ca)
    everleaf.certificate("www", [NAME], outputs=server.outputs()).renew()
    try:
        server.start()
        conformance.configure()
        row.cell("good reload", conformance.good_reload)
        row.cell("check", conformance.check)
        row.cell("bad pair", conformance.bad_pair)
        row.cell("under load", conformance.under_load)
        row.cell("refused reload", lambda: conformance.refused(row))
    finally:
        server.stop()
        row.write()
    if row.errors:
        log = server.log.read_text(errors="replace")[-2000:] if server.log.exists() else ""
        pytest.fail("\n".join(row.errors) + f"\n--- its log\n{log}", pytrace=False)


# HAProxy's Runtime API --------------------------------------------------------------------------------


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(command.encode() + b"\n")
        reply = b""
        while chunk := connection.recv(4096):
            reply += chunk
        return reply.decode()


def worker_pid(server):
    (line,) = [l for l in ask(server.place / "admin.sock", "show info").splitlines() if l.startswith("Pid:")]
    return int(line.split()[1])


@pytest.fixture
def runtime(everleaf, ca, place):
    """Two certificates in a folder that HAProxy loads, replaced through its socket."""
    if not HaproxyRuntime.is_installed():
        pytest.skip("haproxy is not installed")
    server = HaproxyRuntime(place / "haproxy")
    server.pem = server.place / "certs"
    server.pem.mkdir()
    for name in ("www", "api"):
        everleaf.certificate(name, outputs=[{"type": "combined", "path": f"{server.pem}/{name}.pem"}])
    everleaf.renew()
    server.start()
    everleaf.server("lb", **server.everleaf())
    for name in ("www", "api"):
        everleaf.config["certificates"][name]["servers"] = ["lb"]
    everleaf.runtime = server
    yield everleaf
    server.stop()


def test_runtime_api_disturbs_no_process_and_takes_a_batch(runtime):
    before = worker_pid(runtime.runtime)
    with Load(runtime.runtime) as load:
        results = runtime.renew("www", "api", "--force").json["results"]
    assert all(r["proven"] for r in results) and load.failures == []
    assert worker_pid(runtime.runtime) == before, "nothing was reloaded"
    loaded = ask(runtime.runtime.place / "admin.sock", f"show ssl cert {runtime.runtime.pem}/api.pem")
    (api,) = [r for r in results if r["name"] == "api"]
    assert api["new"]["serial"].upper().lstrip("0") in loaded.upper(), loaded


def test_a_file_that_is_new_to_haproxy_takes_a_reload(runtime):
    server = runtime.runtime
    runtime.certificate("new", outputs=[{"type": "combined", "path": f"{server.pem}/new.pem"}], servers=["lb"])
    before = worker_pid(server)
    result = runtime.renew("new").one
    assert result["proven"] is True, result
    assert wait_for(lambda: worker_pid(server) != before, 10, "a new worker")
    again = worker_pid(server)
    assert runtime.renew("new", "--force").one["proven"] is True
    assert worker_pid(server) == again


def test_a_socket_without_rights_is_told(runtime):
    server = runtime.runtime
    config = server.place / "haproxy.cfg"
    server.stop()
    write, text = server.write, config.read_text().replace("level admin", "level operator")
    server.write = lambda: config.write_text(text)
    server.start()
    result = runtime.renew("www", "--force", expect=1)
    assert result.one["result"] == "rolled-back" and "level admin" in result.one["error"]["hint"], result
    assert server.is_well()
    server.write = write
