"""What all integration tests use: the program under test, a configuration, real servers and CAs."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from fake import pki

ROOT = Path(__file__).resolve().parents[2]
EVERLEAF = os.environ.get("EVERLEAF", str(ROOT / "build/gcc-asan/everleaf"))
EVERLEAF_RELEASE = os.environ.get("EVERLEAF_RELEASE", str(ROOT / "build/everleaf"))
PEBBLE_210 = ROOT / "build/pebble-2.10/usr/bin/pebble"
SANITIZER_EXIT = 99
PATIENCE = 30  # seconds until something that should happen at once counts as failed


def wait_for(condition, timeout=PATIENCE, what=None):
    """Looks every few milliseconds; gives what `condition` gave."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def clean_environment(**more):
    env = {name: os.environ[name] for name in
           ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TMPDIR") if name in os.environ}
    env.setdefault("ASAN_OPTIONS", f"exitcode={SANITIZER_EXIT}")
    env.setdefault("UBSAN_OPTIONS", f"exitcode={SANITIZER_EXIT}:print_stacktrace=1")
    env.update(LC_ALL="C.UTF-8", HOME="/dev/null/home", **more)
    return env


def open_to_everybody(everleaf):
    """The configuration, the way to it, and a copy of the program where every user may reach them."""
    program = everleaf.place / "program"
    shutil.copy(everleaf.binary, program)
    program.chmod(0o755)
    everleaf.binary = str(program)
    everleaf.file.chmod(0o644)
    for parent in [everleaf.place, *everleaf.place.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)


class Ports:
    """Loopback ports below the ephemeral range, each given out once in this process."""

    FIRST, LAST = 10000, 32000

    def __init__(self):
        self._next = self.FIRST + os.getpid() * 131 % (self.LAST - self.FIRST)

    def get(self):
        for _ in range(self.LAST - self.FIRST):
            port, self._next = self._next, self._next + 1
            if self._next >= self.LAST:
                self._next = self.FIRST
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise RuntimeError("no free port")


PORTS = Ports()


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# YAML -------------------------------------------------------------------------------------------------

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*\Z")
NOT_PLAIN = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def yaml_scalar(value):
    if value is True or value is False or value is None or isinstance(value, (int, float)):
        return json.dumps(value)
    value = str(value)
    if value == "off" or (PLAIN.match(value) and value.lower() not in NOT_PLAIN):
        return value
    return json.dumps(value)


def yaml(value, indent=0):
    """Block style, as people write it."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append(f"{pad}{yaml_scalar(key)}:\n{yaml(item, indent + 1)}")
            else:
                lines.append(f"{pad}{yaml_scalar(key)}: {yaml(item).strip()}\n")
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            text = yaml(item, indent + 1)
            lines.append(f"{pad}- {text.lstrip()}" if text.strip() else f"{pad}-\n")
            if not lines[-1].endswith("\n"):
                lines[-1] += "\n"
        return "".join(lines)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    return yaml_scalar(value)


# Processes --------------------------------------------------------------------------------------------


def stop_process(process, signo=signal.SIGTERM, timeout=10):
    if process.poll() is None:
        process.send_signal(signo)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


class Result:
    def __init__(self, argv, code, stdout, stderr, seconds):
        self.argv, self.code, self.stdout, self.stderr = argv, code, stdout, stderr
        self.seconds = seconds

    @property
    def json(self):
        return json.loads(self.stdout)

    @property
    def one(self):
        """The only entry of `results`."""
        results = self.json["results"]
        assert len(results) == 1, self
        return results[0]

    def __str__(self):
        return (f"{' '.join(map(str, self.argv))}\nexit {self.code} after {self.seconds:.2f} s\n"
                f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}")

    __repr__ = __str__


class Everleaf:
    """A configuration with its state directory, and the program to run on it."""

    def __init__(self, place, binary=EVERLEAF):
        self.place = Path(place)
        self.binary = binary
        self.file = self.place / "everleaf.yaml"
        self.state = self.place / "state"
        self.control = self.place / "control.sock"
        self.listen_port = None
        self.config = {
            "agent": {
                "state_dir": str(self.state),
                "control": str(self.control),
                "listen": "off",
                "http_timeout": "5s",
            },
            "issuers": {},
            "challenges": {},
            "certificates": {},
        }
        self.agents = []

    # Configuration

    def issuer(self, ca, name="test", **settings):
        self.config["issuers"][name] = {
            "directory": ca.directory,
            "ca_file": str(ca.ca_file),
            "terms_agreed": True,
            **settings,
        }
        return self

    def http_01(self, port, name="web"):
        self.config["challenges"][name] = {"type": "http-01", "listen": f"127.0.0.1:{port}"}
        return self

    def webroot(self, folder, name="root"):
        self.config["challenges"][name] = {"type": "http-01", "webroot": str(folder)}
        return self

    def listen(self):
        self.listen_port = PORTS.get()
        self.config["agent"]["listen"] = f"127.0.0.1:{self.listen_port}"
        return self

    def server(self, name, **settings):
        self.config.setdefault("servers", {})[name] = settings
        return self

    def certificate(self, name="www", names=None, **settings):
        self.config["certificates"][name] = {"names": names or [f"{name}.example.org"], **settings}
        return self

    def write(self, text=None):
        config = {key: value for key, value in self.config.items() if value != {}}
        self.file.write_text(text if text is not None else yaml(config))
        self.file.chmod(0o600)
        return self

    # Running

    def run(self, *args, expect=None, timeout=60, env=None, config=True, prefix=(), stdin=subprocess.DEVNULL,
            **popen):
        """One command to its end. `expect`: an exit status or several, else the test fails."""
        __tracebackhide__ = True
        argv = [*prefix, self.binary, *map(str, args)]
        if config:
            if not self.file.exists():
                self.write()
            argv += ["-c", str(self.file)]
        began = time.monotonic()
        process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=clean_environment(**(env or {})), start_new_session=True, **popen)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            result = Result(argv, "timeout", out.decode("utf-8", "replace"),
                            err.decode("utf-8", "replace"), time.monotonic() - began)
            raise AssertionError(f"still running after {timeout} s\n{result}") from None
        result = Result(argv, process.returncode, out.decode("utf-8", "replace"),
                        err.decode("utf-8", "replace"), time.monotonic() - began)
        assert result.code != SANITIZER_EXIT and "ERROR: AddressSanitizer" not in result.stderr, result
        if expect is not None:
            wanted = expect if isinstance(expect, (tuple, list)) else (expect,)
            assert result.code in wanted, f"wanted exit {wanted}\n{result}"
        return result

    def renew(self, *args, expect=0, **options):
        self.write()
        return self.run("renew", "--json", *args, expect=expect, **options)

    def status(self, *args, expect=None, **options):
        return self.run("status", "--json", *args, expect=expect, **options).json

    def one_status(self, name="www"):
        (certificate,) = [c for c in self.status()["certificates"] if c["name"] == name]
        return certificate

    def agent(self, wait=True, **options):
        agent = Agent(self, **options)
        self.agents.append(agent)
        if wait:
            agent.wait_until_up()
        return agent

    def stop(self):
        for agent in self.agents:
            agent.stop()

    # What is on disk

    def live(self, name="www"):
        return self.state / "live" / name

    def generation(self, name="www"):
        """Number of the live generation, 0 without one."""
        link = self.state / "certificates" / name / "live"
        return int(os.readlink(link).rsplit("/", 1)[1]) if link.is_symlink() else 0

    def document(self, kind, name="www"):
        file = self.state / "certificates" / name / f"{kind}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def edit_document(self, kind, function, name="www"):
        file = self.state / "certificates" / name / f"{kind}.json"
        document = json.loads(file.read_text())
        function(document)
        file.write_text(json.dumps(document))

    def accounts(self):
        return sorted((self.state / "accounts").glob("*/account.json"))


class Agent:
    """`everleaf run` in the background; its output goes to files."""

    _count = 0

    def __init__(self, everleaf, env=None, prefix=(), pass_fds=(), args=()):
        Agent._count += 1
        self.everleaf = everleaf
        self.out = everleaf.place / f"agent-{Agent._count}.out"
        self.err = everleaf.place / f"agent-{Agent._count}.err"
        everleaf.write()
        self.began = time.monotonic()
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [*prefix, everleaf.binary, "run", "-c", str(everleaf.file), *args],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=clean_environment(**(env or {})), start_new_session=True, pass_fds=pass_fds)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.err.read_text(errors="replace") + self.out.read_text(errors="replace")

    def is_up(self):
        assert self.process.poll() is None, f"agent ended with {self.process.returncode}\n{self.log}"
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.everleaf.control)) == 0

    def wait_until_up(self, timeout=PATIENCE):
        wait_for(self.is_up, timeout, "the agent's control socket")
        return self

    def wait_for(self, condition, timeout=PATIENCE, what=None):
        def look():
            assert self.process.poll() is None, f"agent ended with {self.process.returncode}\n{self.log}"
            return condition()

        try:
            return wait_for(look, timeout, what)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log}") from None

    def wait_for_state(self, *states, name="www", timeout=PATIENCE):
        return self.wait_for(
            lambda: (lambda c: c if c["state"] in states else None)(self.everleaf.one_status(name)),
            timeout, f"{name} in state {states}")

    def get(self, path):
        """Status and body from the listener."""
        url = f"http://127.0.0.1:{self.everleaf.listen_port}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def metrics(self):
        code, text = self.get("/metrics")
        assert code == 200
        return Metrics(text)

    def hangup(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=10):
        code = stop_process(self.process, timeout=timeout)
        assert code != SANITIZER_EXIT and "ERROR: AddressSanitizer" not in self.log, self.log
        return code


class Metrics:
    """Prometheus text: values by name and labels."""

    LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)( [0-9]+)?\Z")
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

    def __init__(self, text):
        self.text = text
        self.samples = []
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"two TYPE lines for {name}"
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = self.LINE.match(line)
                assert match, f"not a sample: {line!r}"
                self.samples.append((match[1], dict(self.LABEL.findall(match[2] or "")), float(match[3])))

    def names(self):
        return {name for name, _, _ in self.samples}

    def all(self, name, **labels):
        return [value for n, l, value in self.samples
                if n == name and all(l.get(k) == v for k, v in labels.items())]

    def value(self, name, **labels):
        values = self.all(name, **labels)
        assert len(values) == 1, f"{name} {labels}: {values}\n{self.text}"
        return values[0]

    def total(self, name, **labels):
        return sum(self.all(name, **labels))


MEASURE = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps({"code": os.waitstatus_to_exitcode(status), "wall": time.monotonic() - began,
                  "cpu": usage.ru_utime + usage.ru_stime, "rss_kib": usage.ru_maxrss}))
"""


def measure(everleaf, *args):
    """Exit status, wall and CPU seconds and the peak of memory of one command.

    By a small process of its own: a child's peak begins with the size of whoever forked it.
    """
    everleaf.write()
    output = subprocess.run(
        [sys.executable, "-ISc", MEASURE, everleaf.binary, *args, "-c", str(everleaf.file)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120,
        env=clean_environment(), check=True)
    return json.loads(output.stdout)


# Files and endpoints ----------------------------------------------------------------------------------


def read_pair(folder):
    """Checks key, leaf and chain of a folder as a reader that opens it once; gives the leaf."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        def read(name):
            with open(os.open(name, os.O_RDONLY, dir_fd=fd)) as file:
                return file.read()

        fullchain, key, cert, chain = map(read, ("fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"))
    finally:
        os.close(fd)
    leaf = pki.certificates(fullchain)[0]
    assert pki.key_matches(key, leaf), f"{folder}: key and certificate do not belong together"
    assert cert + chain == fullchain
    return leaf


def served_leaf(port, name="www.example.org", timeout=5):
    """The certificate a TLS server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout) as raw:
        with context.wrap_socket(raw, server_hostname=name) as tls:
            der = tls.getpeercert(binary_form=True)
    return pki.x509.load_der_x509_certificate(der)


def served_sha256(port, name="www.example.org"):
    return pki.sha256(served_leaf(port, name))


class RequestLoop:
    """HTTPS requests, one connection each, until stopped; remembers failures and every leaf seen."""

    def __init__(self, port, name="www.example.org", threads=2):
        self.port, self.name = port, name
        self.done, self.failures, self.leaves = 0, [], []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.done > 5 or self.failures, what="first requests")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _loop(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        request = f"GET / HTTP/1.1\r\nHost: {self.name}\r\nConnection: close\r\n\r\n".encode()
        while not self._stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as raw:
                    with context.wrap_socket(raw, server_hostname=self.name) as tls:
                        leaf = pki.sha256_of(tls.getpeercert(binary_form=True))
                        tls.sendall(request)
                        reply = b""
                        while chunk := tls.recv(4096):
                            reply += chunk
                problem = None if reply.startswith(b"HTTP/1.1 200") and b"hello" in reply else repr(reply)
            except OSError as e:
                leaf, problem = None, repr(e)
            with self._lock:
                self.done += 1
                if problem:
                    self.failures.append(problem)
                elif leaf not in self.leaves:
                    self.leaves.append(leaf)


# Real servers -----------------------------------------------------------------------------------------


class Nginx:
    """A real nginx of our own: configuration, pid file, log and ports."""

    BINARY = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin") or "/usr/sbin/nginx"

    def __init__(self, place):
        self.place = Path(place)
        self.place.mkdir(parents=True, exist_ok=True)
        self.config = self.place / "nginx.conf"
        self.pid_file = self.place / "nginx.pid"
        self.error_log = self.place / "error.log"
        self.sites = []
        self.extra = ""  # inside http {}
        self.tail = ""  # after everything, e.g. to break the file
        self.process = None

    def site(self, folder, name="www.example.org", port=None):
        """A server block whose pair is in `folder`; gives its port."""
        port = port or PORTS.get()
        self.sites.append((Path(folder), name, port))
        return port

    def self_signed(self, folder, name="www.example.org"):
        """A pair for nginx to start with before anything was issued."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        authority = pki.Authority("Placeholder")
        key = pki.new_key()
        leaf = authority.leaf(key.public_key(), [name])
        (folder / "fullchain.pem").write_text(pki.pem(leaf))
        (folder / "privkey.pem").write_text(pki.key_pem(key))

    def write(self):
        blocks = "".join(
            f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_certificate {folder}/fullchain.pem;
        ssl_certificate_key {folder}/privkey.pem;
        location / {{ return 200 "hello {name}\\n"; }}
    }}"""
            for folder, name, port in self.sites)
        user = "user root;\n" if os.getuid() == 0 else ""
        temp = "\n".join(f"    {kind}_temp_path {self.place}/temp;" for kind in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.config.write_text(
            f"{user}pid {self.pid_file};\nerror_log {self.error_log} notice;\nworker_processes 1;\n"
            f"daemon off;\nevents {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{temp}\n"
            f"    ssl_session_cache off;\n    ssl_protocols TLSv1.2 TLSv1.3;\n{self.extra}{blocks}\n}}\n{self.tail}")

    def start(self):
        self.write()
        self.process = subprocess.Popen(
            [self.BINARY, "-c", str(self.config), "-e", str(self.error_log)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

        def up():
            assert self.process.poll() is None, self.error_log.read_text()
            return self.pid_file.exists() and self.pid_file.read_text().strip() and \
                all(is_listening(port) for _, _, port in self.sites)

        wait_for(up, what="nginx")
        return self

    def reloads(self):
        return self.error_log.read_text().count("signal 1 (SIGHUP) received")

    def stop(self):
        if self.process:
            stop_process(self.process)
            self.process = None

    def settings(self, *ports, **more):
        """The server section for it: the type nginx with proof at the ports of its sites."""
        ports = ports or sorted({port for _, _, port in self.sites})
        return {
            "type": "nginx",
            "binary": self.BINARY,
            "config": str(self.config),
            "pid_file": str(self.pid_file),
            "reload": "signal",
            "prove": [{"connect": f"127.0.0.1:{port}", "deadline": "10s"} for port in ports],
            **more,
        }


class NameServer:
    """Pebble asks it: every name is at 127.0.0.1."""

    def __init__(self, place):
        self.port, self.management = PORTS.get(), PORTS.get()
        program = shutil.which("pebble-challtestsrv")
        self.process = subprocess.Popen(
            [program, "-dns01", f"127.0.0.1:{self.port}", "-http01", "", "-https01", "",
             "-tlsalpn01", "", "-management", f"127.0.0.1:{self.management}", "-defaultIPv6", ""],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        wait_for(lambda: is_listening(self.management) and is_listening(self.port), what="challtestsrv")

    def stop(self):
        stop_process(self.process)


class Pebble:
    """A real Pebble; validates http-01 at `http_port`."""

    def __init__(self, place, version, dns, http_port, env=None, **config):
        self.place = Path(place)
        self.place.mkdir(parents=True, exist_ok=True)
        self.version, self.http_port = version, http_port
        self.port, self.management = PORTS.get(), PORTS.get()
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        root = pki.Authority("Pebble TLS root")
        cert, key, _ = pki.write_server_pair(root, self.place, ["localhost", "127.0.0.1"], "pebble-tls")
        self.ca_file = self.place / "pebble-ca.pem"
        self.ca_file.write_text(root.pem)
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(cert),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": PORTS.get(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        if version != "2.4":
            settings["profiles"] = {
                "default": {"description": "ninety days", "validityPeriod": 7776000},
                "shortlived": {"description": "six days", "validityPeriod": 518400},
            }
        settings.update(config)
        self._dns = dns
        self._environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1",
                       "PEBBLE_WFE_NONCEREJECT": "10", "GOMAXPROCS": "1", **(env or {})}
        self.settings = settings
        self.start()

    def start(self):
        """Also for a restart: the same address, but it knows nobody any more."""
        file = self.place / "pebble.json"
        file.write_text(json.dumps({"pebble": self.settings}))
        self.log = self.place / "pebble.log"
        program = shutil.which("pebble") if self.version == "2.4" else str(PEBBLE_210)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, "-config", str(file), "-strict", "-dnsserver", f"127.0.0.1:{self._dns.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=self._environment, start_new_session=True)

        def up():
            assert self.process.poll() is None, self.log.read_text()
            return is_listening(self.port)

        wait_for(up, what="pebble")

    def stop(self):
        stop_process(self.process)
