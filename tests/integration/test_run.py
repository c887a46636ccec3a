"""The agent as a service: start, stop, reload, notifications, control socket, listener."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
from support import PORTS, is_listening, read_pair, wait_for, yaml

from fake import pki
from fake.ca import drop, hang


class NotifySocket:
    """What systemd would hear."""

    def __init__(self, place):
        self.path = place / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.messages = []

    def read(self):
        while select.select([self._socket], [], [], 0)[0]:
            for line in self._socket.recv(65536).decode().splitlines():
                self.messages.append(line)
        return self.messages

    def has(self, prefix):
        return any(message.startswith(prefix) for message in self.read())

    def close(self):
        self._socket.close()


@pytest.fixture
def notify(tmp_path):
    notify = NotifySocket(tmp_path)
    yield notify
    notify.close()


# Start and stop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly(everleaf, ca, signo):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    agent.process.send_signal(signo)
    assert agent.process.wait(5) == 0
    assert not everleaf.control.exists() and not is_listening(everleaf.listen_port)


@pytest.mark.parametrize("operation", ["directory", "new-order", "authorization", "finalize"])
def test_stops_within_five_seconds_whatever_it_waits_for(everleaf, ca, operation):
    ca.fault(operation, hang, times=None)
    everleaf.config["agent"]["http_timeout"] = "30s"
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count(operation) > 0)
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < 5


def test_stops_while_a_hook_hangs(everleaf, ca, tmp_path):
    everleaf.server("app", type="exec", check="off", prove="off",
                    reload=["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; trap '' TERM; sleep 1000"])
    everleaf.certificate("www", servers=["app"])
    agent = everleaf.agent()
    wait_for((tmp_path / "pid").exists, what="the hook")
    hook = wait_for(lambda: (tmp_path / "pid").read_text().strip())
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < 5
    wait_for(lambda: not os.path.exists(f"/proc/{hook}") or
             open(f"/proc/{hook}/stat").read().split()[2] == "Z", what="the hook to be gone")


def test_killed_agent_leaves_no_lock(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    agent.kill()
    assert everleaf.renew("www").json["by"] == "self"
    again = everleaf.agent()
    again.wait_for_state("idle", "deployed", "proven")
    assert len(ca.issued) == 1


def test_goes_on_when_the_ca_is_down_and_recovers(everleaf, ca):
    ca.pause()
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    assert agent.get("/healthz")[0] == 200
    code, text = agent.get("/readyz")
    assert code == 503 and "www" in text
    status = everleaf.status(expect=3)
    assert status["certificates"][0]["state"] == "backoff" and status["certificates"][0]["next_try"]
    ca.resume()
    assert everleaf.renew("www").one["result"] == "renewed"
    assert agent.get("/readyz")[0] == 200 and everleaf.status()["exit"] == 0


def test_back_off_survives_a_restart(everleaf, ca):
    ca.validate = "fail"
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    next_try = everleaf.one_status()["next_try"]
    agent.stop()
    orders = ca.count("new-order")
    again = everleaf.agent()
    status = again.wait_for_state("backoff")
    assert status["next_try"] == next_try and status["failures"] == 1
    assert ca.count("new-order") == orders


def test_next_try_comes_by_itself(everleaf, ca):
    ca.fault("new-order", drop, times=None)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    agent.stop()
    ca.faults.clear()
    everleaf.edit_document("schedule", lambda d: d.update(
        next_try=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))))
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)


def test_renews_what_is_due_by_itself(everleaf, ca):
    ca.not_before = pki.now() - 80 * pki.DAY
    everleaf.certificate("www").renew()
    ca.not_before = None
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 2)
    read_pair(everleaf.live())


def test_state_directory_that_others_may_write_is_refused(everleaf, ca):
    everleaf.certificate("www").renew()
    os.chmod(everleaf.state, 0o777)
    result = everleaf.run("run", timeout=20)
    assert result.code not in (0, "timeout") and str(everleaf.state) in result.stderr
    os.chmod(everleaf.state, 0o700)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"\0" * 100, b'{"failures": "x", "next_try": []}', b"\xff\xfe"])
@pytest.mark.parametrize("kind", ["schedule", "deploy", "order"])
def test_damaged_state_files_are_survived(everleaf, ca, kind, junk):
    everleaf.certificate("www").renew()
    before = pki.sha256(read_pair(everleaf.live()))
    (everleaf.state / f"certificates/www/{kind}.json").write_bytes(junk)
    assert everleaf.run("status", "--json").json["certificates"][0]["live"]["sha256"] == before
    assert everleaf.renew("www", "--force", expect=(0, 1)).one["result"] in ("renewed", "failed")
    read_pair(everleaf.live())


# Listener and control socket --------------------------------------------------------------------------


def test_listener(everleaf, ca):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    code, text = agent.get("/status")
    assert code == 200 and json.loads(text)["schema"] == "everleaf.status/1"
    assert agent.get("/healthz")[0] == 200
    assert agent.get("/nonsense")[0] == 404
    assert agent.get("/../etc/passwd")[0] in (400, 404)
    key = (everleaf.live() / "privkey.pem").read_text().splitlines()[2]
    for path in ("/status", "/metrics", "/healthz", "/readyz", "/"):
        assert key not in agent.get(path)[1]
    with socket.create_connection(("127.0.0.1", everleaf.listen_port)) as raw:
        raw.sendall(b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert raw.recv(100).split()[1] in (b"405", b"404", b"400")


def test_slow_and_greedy_clients_do_not_block_the_loop(everleaf, ca):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    clients = []
    for _ in range(200):
        client = socket.create_connection(("127.0.0.1", everleaf.listen_port))
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        clients.append(client)
    assert everleaf.renew("www", "--force").one["result"] == "renewed"
    big = socket.create_connection(("127.0.0.1", everleaf.listen_port))
    try:
        big.sendall(b"GET /" + b"a" * 2_000_000)
    except OSError:
        pass
    assert everleaf.status()["exit"] == 0
    for client in [*clients, big]:
        client.close()
    agent.wait_for(lambda: agent.get("/healthz")[0] == 200)


def test_busy_port_is_retried(everleaf, ca):
    everleaf.certificate("www").listen()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", everleaf.listen_port))
        other.listen()
        agent = everleaf.agent()
        agent.wait_for(lambda: everleaf.generation() == 1)
        assert str(everleaf.listen_port) in agent.log
    agent.wait_for(lambda: agent.get("/healthz")[0] == 200, timeout=90, what="the port to be tried again")


def test_listen_on_a_socket_file(everleaf, ca, tmp_path):
    path = tmp_path / "status.sock"
    everleaf.config["agent"]["listen"] = f"unix:{path}"
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(path.exists)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in client.recv(4096)


def test_control_socket(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    assert stat.S_IMODE(os.stat(everleaf.control).st_mode) == 0o660

    def ask(data):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(everleaf.control))
            try:
                client.sendall(data)
                reply = b""
                while not reply.endswith(b"\n"):
                    chunk = client.recv(65536)
                    if not chunk:
                        break
                    reply += chunk
                return reply
            except OSError:
                return b""

    assert json.loads(ask(b'{"method": "status"}\n'))["result"]["schema"] == "everleaf.status/1"
    for junk in (b"\n", b"nonsense\n", b"{}\n", b"[]\n", b'{"method": 5}\n', b'{"method": "shutdown"}\n',
                 b'{"method": "renew", "names": "www"}\n', b'{"method": "renew", "names": [5]}\n',
                 b'{"method": "status", "name": "../../x"}\n', b"\0" * 1000 + b"\n", b"[" * 60000 + b"\n",
                 b"x" * 200_000):
        reply = ask(junk)
        assert not reply or "error" in json.loads(reply), junk
    assert json.loads(ask(b'{"method": "status"}\n'))["result"]["exit"] == 0


def test_others_may_not_change_anything(everleaf, ca, tmp_path):
    if os.getuid() != 0:
        pytest.skip("becoming somebody else needs root")
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    os.chmod(everleaf.control, 0o666)
    for parent in [everleaf.place, *everleaf.place.parents]:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
    script = f"""
import os, socket
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect({str(everleaf.control)!r})
s.sendall(b'{{"method": "renew", "names": ["www"], "force": true, "wait": true}}\\n'); s.settimeout(10)
print(s.recv(65536).decode())
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30,
                            check=False)
    assert output.returncode == 0, output
    answer = output.stdout.strip()  # none at all, or a refusal
    assert not answer or "error" in json.loads(answer.splitlines()[-1]), output
    time.sleep(0.2)
    assert everleaf.generation() == 1


def test_second_agent_is_refused(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    result = everleaf.run("run", timeout=20)
    assert result.code == 4 and str(agent.pid) in result.stderr, result
    assert everleaf.status()["agent"]["pid"] == agent.pid


def test_no_wait_returns_once_accepted(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1 and everleaf.one_status()["activity"] is None)
    ca.fault("new-order", hang, times=1)
    result = everleaf.renew("www", "--force", "--no-wait")
    assert result.one["result"] == "accepted" and result.seconds < 3
    ca.close_connections()


def test_client_that_goes_away_does_not_stop_the_renewal(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1 and everleaf.one_status()["activity"] is None)
    ca.authorization_polls = 3
    process = subprocess.Popen([everleaf.binary, "renew", "www", "--force", "-c", str(everleaf.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    agent.wait_for(lambda: len(ca.orders) == 2)
    process.kill()
    process.wait()
    agent.wait_for(lambda: everleaf.generation() == 2)


# SIGHUP -----------------------------------------------------------------------------------------------


def test_hangup_takes_a_good_file(everleaf, ca):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    everleaf.certificate("mail").write()
    agent.hangup()
    agent.wait_for(lambda: everleaf.generation("mail") == 1)
    assert [c["name"] for c in everleaf.status()["certificates"]] == ["www", "mail"]
    assert everleaf.generation("www") == 1 and len(ca.accounts) == 1
    del everleaf.config["certificates"]["www"]
    everleaf.write()
    agent.hangup()
    agent.wait_for(lambda: [c["name"] for c in everleaf.status()["certificates"]] == ["mail"])
    read_pair(everleaf.live("www"))
    assert agent.metrics().value("everleaf_config_reload_success") == 1


def test_hangup_keeps_the_old_configuration_when_the_new_one_is_bad(everleaf, ca):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    good = everleaf.file.read_text()
    everleaf.write("certificates: {www: {nmaes: [x]}}\n")
    agent.hangup()
    agent.wait_for(lambda: everleaf_config(agent)["ok"] is False)
    config = everleaf_config(agent)
    assert config["error"]["where"].startswith(f"{everleaf.file}:1:")
    assert agent.metrics().value("everleaf_config_reload_success") == 0
    assert f"{everleaf.file}:1" in agent.log
    everleaf.write(good)
    assert everleaf.renew("www", "--force").one["result"] == "renewed"
    agent.hangup()
    agent.wait_for(lambda: everleaf_config(agent)["ok"] is True)
    assert agent.metrics().value("everleaf_config_reload_success") == 1


def everleaf_config(agent):
    return json.loads(agent.get("/status")[1])["agent"]["config"]


def test_hangup_does_not_disturb_an_order_under_way(everleaf, ca):
    ca.processing_forever = True
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("order") > 0)
    everleaf.config["agent"]["http_timeout"] = "7s"
    everleaf.certificate("mail").write()
    agent.hangup()
    agent.wait_for(lambda: len(ca.orders) == 2)
    ca.processing_forever = False
    agent.wait_for(lambda: everleaf.generation("www") == everleaf.generation("mail") == 1)
    assert len(ca.orders) == 2


def test_hangup_gives_up_an_order_whose_names_changed(everleaf, ca):
    ca.validate = False  # the challenge stays open
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("challenge") > 0)
    first = next(iter(ca.authorizations.values()))
    ca.validate = True
    everleaf.certificate("www", ["other.example.org"]).write()
    agent.hangup()
    agent.wait_for(lambda: everleaf.generation() == 1)
    assert pki.names_of(read_pair(everleaf.live())) == {"other.example.org"}
    agent.wait_for(lambda: first.status == "deactivated", what="the old authorization to be deactivated")


def test_hangup_storm_loses_and_doubles_nothing(everleaf, ca):
    for i in range(6):
        everleaf.certificate(f"c{i}")
    agent = everleaf.agent()

    def look():
        agent.hangup()
        return all(everleaf.generation(f"c{i}") == 1 for i in range(6))

    agent.wait_for(look)
    assert len(ca.orders) == len(ca.issued) == 6


def test_restart_settings_are_reported(everleaf, ca, tmp_path):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    config = {**everleaf.config, "agent": {**everleaf.config["agent"], "state_dir": str(tmp_path / "other")}}
    everleaf.file.write_text(yaml({k: v for k, v in config.items() if v}))
    agent.hangup()
    agent.wait_for(lambda: "state_dir" in agent.log and "restart" in agent.log)
    assert not (tmp_path / "other").exists()


# systemd ----------------------------------------------------------------------------------------------


def test_notifications(everleaf, ca, notify):
    everleaf.certificate("www")
    agent = everleaf.agent(env={"NOTIFY_SOCKET": str(notify.path)})
    agent.wait_for(lambda: notify.has("READY=1"))
    agent.wait_for(lambda: notify.has("STATUS="))
    agent.wait_for(lambda: everleaf.generation() == 1)
    notify.messages.clear()
    agent.hangup()
    agent.wait_for(lambda: notify.has("RELOADING=1") and notify.has("READY=1"))
    messages = notify.read()
    reloading = messages.index("RELOADING=1")
    assert any(m.startswith("MONOTONIC_USEC=") for m in messages)
    assert "READY=1" in messages[reloading:]
    notify.messages.clear()
    assert agent.stop() == 0
    assert notify.has("STOPPING=1")


def test_ready_does_not_wait_for_the_ca(everleaf, ca, notify):
    ca.fault("directory", hang, times=None)
    everleaf.certificate("www")
    agent = everleaf.agent(env={"NOTIFY_SOCKET": str(notify.path)})
    agent.wait_for(lambda: notify.has("READY=1"), timeout=5)


def test_watchdog(everleaf, ca, notify):
    everleaf.certificate("www")
    agent = everleaf.agent(env={"NOTIFY_SOCKET": str(notify.path), "WATCHDOG_USEC": "1000000"})
    agent.wait_for(lambda: sum(m == "WATCHDOG=1" for m in notify.read()) >= 3, timeout=10)
    agent.process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    notify.read()
    notify.messages.clear()
    time.sleep(1.2)
    assert not notify.has("WATCHDOG=1")
    agent.process.send_signal(signal.SIGCONT)
    agent.wait_for(lambda: notify.has("WATCHDOG=1"))


def test_no_watchdog_for_somebody_else(everleaf, ca, notify):
    agent = everleaf.certificate("www").agent(env={
        "NOTIFY_SOCKET": str(notify.path), "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    agent.wait_for(lambda: notify.has("READY=1"))
    time.sleep(0.5)
    assert not notify.has("WATCHDOG=1")


def test_socket_activation_for_http_01(make_everleaf, ca, http_port):
    """The socket of port 80 is handed over; it answers 404 while nothing is pending."""
    everleaf = make_everleaf().issuer(ca).http_01(http_port).certificate("www")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", http_port))
    listener.listen(16)
    fd = os.dup2(listener.fileno(), 200)
    os.set_inheritable(fd, True)
    script = 'exec 3<&200 200<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"'
    # bash: other shells know file descriptors of one digit only
    agent = everleaf.agent(prefix=["/bin/bash", "-c", script], pass_fds=(fd,))
    listener.close()
    os.close(fd)
    agent.wait_for(lambda: everleaf.generation() == 1)
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", http_port, timeout=5)
    connection.request("GET", "/.well-known/acme-challenge/x")
    assert connection.getresponse().status == 404
    connection.close()


def test_busy_challenge_port_names_who_has_it(everleaf, ca, http_port):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", http_port))
        other.listen()
        everleaf.certificate("www")
        error = everleaf.renew(expect=3).one["error"]
        text = error["text"] + " " + (error["hint"] or "")
        assert str(http_port) in text and "python" in text and str(os.getpid()) in text
        assert "webroot" in text and "9480" in text
    assert everleaf.renew("www").one["result"] == "renewed"
    assert PORTS.get() != http_port


def test_two_certificates_share_the_challenge_port(everleaf, ca):
    for i in range(8):
        everleaf.certificate(f"c{i}", [f"c{i}.example.org", f"d{i}.example.org"])
    assert {r["result"] for r in everleaf.renew().json["results"]} == {"renewed"}
