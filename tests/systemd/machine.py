"""A Debian root, booted with its own systemd in a container, and what the tests do with it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

CGROUPS = [Path("/sys/fs/cgroup") / name for name in ("systemd", "unified")]
PATIENCE = 60


def wait_for(condition, timeout=PATIENCE, what=None):
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(0.1)


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"{' '.join(self.argv)}\nexit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    __repr__ = __str__


class Machine:
    def __init__(self, root):
        self.root = Path(root)
        self.name = f"everleaf-{os.getpid()}"
        self.pid = None

    # Life

    def boot(self):
        # Where the host has no unified hierarchy alone, a container needs groups of its own in both,
        # or all containers share one and stop each other's services.
        for group in self._groups():
            group.mkdir(exist_ok=True)
        enter = " ".join(f"echo $$ > {group}/cgroup.procs;" for group in self._groups())
        self.log = self.root.parent / "boot.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f"{enter} exec systemd-nspawn -q --register=no --keep-unit --console=pipe "
                 f"--private-network --resolv-conf=off -M {self.name} -D {self.root} --boot"],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.pid = wait_for(self._find_init, what="PID 1 of the container")
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).out.strip()
                 in ("running", "degraded"), what="a booted system")

    def _groups(self):
        return [group / self.name for group in CGROUPS if group.is_dir()]

    def _find_init(self):
        assert self.process.poll() is None, self.log.read_text()
        for line in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True,
                                   text=True).stdout.split():
            if Path(f"/proc/{line}/comm").read_text().strip() == "systemd":
                return int(line)
        return None

    def poweroff(self):
        if self.pid:
            self.run("systemctl", "poweroff", check=False)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for group in self._groups():
            for inner in sorted(group.rglob("*"), reverse=True):
                if inner.is_dir():
                    inner.rmdir()
            group.rmdir()

    # Commands and files

    def run(self, *argv, check=True, timeout=120, user=None):
        argv = [str(a) for a in argv]
        if user:
            argv = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", *argv]
        process = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "--", "env", "-i", "LC_ALL=C.UTF-8",
             "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        result = Result(argv, process.returncode, process.stdout, process.stderr)
        assert not check or result.code == 0, f"{result}\n{self.journal()}"
        return result

    def write(self, path, text, mode=0o644, user=None):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        if user:
            self.run("chown", f"{user}:", path)

    def journal(self, unit="everleaf.service"):
        return subprocess.run(["nsenter", "-t", str(self.pid), "-a", "--", "journalctl", "-o", "cat", "-u", unit,
                               "-n", "60", "--no-pager"], capture_output=True, text=True).stdout

    # Units

    def show(self, unit, name):
        return self.run("systemctl", "show", "-P", name, unit).out.strip()

    def main_pid(self, unit="everleaf.service"):
        return int(self.show(unit, "MainPID"))

    def drop_in(self, unit, name, text):
        """Also an empty text: none."""
        path = f"/etc/systemd/system/{unit}.d/{name}.conf"
        if text:
            self.write(path, text)
        else:
            self.run("rm", "-f", path)
        self.run("systemctl", "daemon-reload")

    def process_status(self, pid, name):
        for line in self.run("cat", f"/proc/{pid}/status").out.splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
        raise AssertionError(f"no {name} in /proc/{pid}/status")

    # Everleaf

    def status(self, name):
        """What the agent says about one certificate."""
        result = self.run("everleaf", "status", name, "--json", check=False)
        found = result.json["certificates"]
        assert len(found) == 1, result
        return found[0]

    def metric(self, name):
        for line in self.run("curl", "-sS", "http://127.0.0.1:9402/metrics").out.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def served(self, name="www.example.org"):
        """SHA-256 and names of what nginx serves."""
        text = self.run("sh", "-c", f"openssl s_client -connect 127.0.0.1:443 -servername {name} </dev/null "
                        "2>/dev/null | openssl x509 -noout -fingerprint -sha256 -ext subjectAltName").out
        fingerprint, *rest = text.splitlines()
        return fingerprint.split("=")[1].replace(":", "").lower(), " ".join(rest)
