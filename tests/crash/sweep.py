#!/usr/bin/python3
"""kill -9 at every system call that changes something, and a look at what is left.

    tests/crash/sweep.py [--binary build/everleaf] [--scenario first|renew] [--every N] [--fault F] [-v]

Each point runs `everleaf renew` under strace until the N-th call of one kind, where it is killed (or where
that one call fails, with `--fault error=EIO`: then the program goes on and must say what failed). Then:
whatever is visible is one complete pair, the old or the new one; running it again ends with the
certificate issued, the outputs holding it, one account, no certificate too many and at most one surplus
order (only where the CA's reply to newOrder was lost), nothing temporary left.

The gate runs a sample of the points (tests/integration/test_crash.py); this runs all, some minutes.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402
from fake import pki  # noqa: E402
from fake.ca import FakeCA  # noqa: E402
from fake.endpoint import Endpoint  # noqa: E402

CALLS = ["openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir",
         "mkdirat", "unlink", "unlinkat", "symlinkat", "linkat", "ftruncate", "fchmod", "fchown",
         "sendto", "sendmsg", "connect", "clone3"]
# Those of files. A failing write() would hit the event loop's own descriptors as well, which never fail.
FILE_CALLS = ["openat", "fsync", "rename", "renameat", "renameat2", "mkdirat", "unlinkat", "symlinkat",
              "fchmod", "fchown", "ftruncate"]
SCENARIOS = ("first", "renew")
KILL = "signal=KILL"


class Scene:
    """One place with a CA, a server and a configuration; the certificate is missing or due."""

    def __init__(self, place, scenario, binary):
        self.place = Path(place)
        self.scenario = scenario
        port = support.PORTS.get()
        self.ca = FakeCA(self.place / "ca", port)
        self.everleaf = support.Everleaf(self.place, binary).issuer(self.ca).http_01(port)
        self.outs = [self.place / "tls", self.place / "plain"]
        self.combined = self.place / "all.pem"
        outputs = [
            {"type": "files", "dir": str(self.outs[0])},
            {"type": "files", "dir": str(self.outs[1]), "layout": "plain"},
            {"type": "combined", "path": str(self.combined)},
        ]
        self.endpoint = None
        if scenario == "renew":
            self.ca.not_before = pki.now() - 80 * pki.DAY
            self.everleaf.certificate("www", outputs=outputs).renew()
            self.ca.not_before = None
            self.endpoint = Endpoint(self.outs[0], follow=True)
            self.everleaf.server("app", type="exec", reload=["/bin/true"], check="off",
                                 prove=[{"connect": self.endpoint.connect, "deadline": "5s"}])
        self.everleaf.certificate("www", outputs=outputs, servers=["app"] if self.endpoint else [])
        self.everleaf.write()
        self.before = pki.sha256(support.read_pair(self.outs[0])) if self.endpoint else None

    def strace(self, *options):
        """Runs `renew` under strace; gives its exit status, negative for a signal."""
        log = self.place / "strace"
        argv = ["strace", "-f", "-qq", "-o", str(log), *options, self.everleaf.binary, "renew", "-c",
                str(self.everleaf.file)]
        process = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                                 env=support.clean_environment(), check=False)
        return process.returncode, log.read_text(errors="replace"), process.stderr

    def look(self):
        """What must hold right after the kill."""
        for folder in (self.outs[0] / "..data", self.everleaf.live()):
            if folder.exists():
                support.read_pair(folder)
            else:
                assert self.before is None, f"{folder} is gone"
        if self.before:
            assert pki.key_matches(*combined_parts(self.combined)), "combined file is torn"
            # Plain files are replaced one by one, key last: each of them is whole.
            for name in ("privkey.pem", "cert.pem", "fullchain.pem"):
                assert (self.outs[1] / name).read_text().endswith("-----\n")

    def recover(self):
        """Runs it again until it is done, and looks at everything."""
        result = None
        for _ in range(4):
            result = self.everleaf.run("renew", "www", "--json", expect=(0, 1, 3))
            if result.code == 0:
                break
        assert result.code == 0, result
        leaf = support.read_pair(self.everleaf.live())
        assert leaf == self.ca.issued[-1][1], "not the newest certificate"
        for folder in self.outs:
            assert support.read_pair(folder) == leaf, folder
        assert combined_parts(self.combined)[1] == leaf
        wanted = 1 if self.before is None else 2
        assert len(self.ca.accounts) == 1, "a second account"
        assert len(self.ca.issued) == wanted, f"{len(self.ca.issued)} certificates"
        assert len(self.ca.orders) <= wanted + 1, f"{len(self.ca.orders)} orders"
        if len(self.ca.orders) > wanted:
            assert self.lost_order(), "a surplus order although the reply to newOrder was on disk"
        assert self.ca.violations == []
        left = [p for p in self.place.rglob("*") if re.search(r"\.tmp|\.new|~$", p.name)]
        assert left == [], left
        if self.endpoint:
            assert support.served_sha256(self.endpoint.port) == pki.sha256(leaf)
        # And what the kill may have left beside it is no burden to the next renewal.
        orders, issued = len(self.ca.orders), len(self.ca.issued)
        assert self.everleaf.renew("www", "--force").one["result"] == "renewed"
        assert (len(self.ca.orders), len(self.ca.issued)) == (orders + 1, issued + 1)
        assert not self.everleaf.document("order")

    def lost_order(self):
        return self.ca.count("new-order") > (1 if self.before is None else 2)

    def close(self):
        if self.endpoint:
            self.endpoint.stop()
        self.ca.close()


def combined_parts(path):
    text = path.read_text()
    key = text[text.index("-----BEGIN PRIVATE KEY"):text.index("-----END PRIVATE KEY")]
    return key + "-----END PRIVATE KEY-----\n", pki.certificates(
        text.replace(key + "-----END PRIVATE KEY-----\n", ""))[0]


def count_points(place, scenario, binary):
    """(call, n) for each call of an undisturbed run. strace counts per thread, so this does too; calls
    of the start (shared libraries) change nothing and are left out."""
    scene = Scene(place, scenario, binary)
    try:
        code, log, err = scene.strace("-e", "trace=" + ",".join(CALLS))
        assert code == 0, err
    finally:
        scene.close()
    counts = collections.defaultdict(lambda: [0, None])
    started = False
    for line in log.splitlines():
        match = re.match(r"(\d+) +(\w+)\(", line)
        if not match:
            continue
        started = started or str(scene.everleaf.file) in line
        row = counts[match[1], match[2]]
        row[0] += 1
        if started and row[1] is None:
            row[1] = row[0]
    points = set()
    for (_, call), (last, first) in counts.items():
        if first is not None:
            points |= {(call, n) for n in range(first, last + 1)}
    return sorted(points)


def for_fault(points, fault):
    return [(call, n) for call, n in points if fault == KILL or call in FILE_CALLS]


def sample(points, count):
    """Evenly over all kinds of calls; the calls of one kind next to each other count as one stretch."""
    if count >= len(points):
        return points
    return [points[i * len(points) // count] for i in range(count)]


def try_point(place, scenario, binary, call, n, fault=KILL):
    """False: that many calls were not made this time (threads share the work differently)."""
    scene = Scene(place, scenario, binary)
    try:
        code, log, err = scene.strace("-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={n}")
        assert b"strace: invalid" not in err, err
        killed = code < 0 or code > 128
        assert fault == KILL or not killed, f"ended by signal {code}: {err.decode()}"
        scene.look()
        scene.recover()
        return killed or "(INJECTED)" in log
    except AssertionError as e:
        calls = "\n".join(map(repr, scene.ca.calls))
        raise AssertionError(f"{scenario}: {fault} at {call} #{n}: {e}\n{calls}") from e
    finally:
        scene.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=support.EVERLEAF_RELEASE)
    parser.add_argument("--scenario", choices=SCENARIOS)
    parser.add_argument("--every", type=int, default=1, help="only every N-th point")
    parser.add_argument("--fault", default=KILL, help="as strace's inject=, default: %(default)s")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    failed = tried = killed = 0
    for scenario in [arguments.scenario] if arguments.scenario else SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="everleaf-sweep-") as place:
            points = count_points(place, scenario, arguments.binary)
        points = for_fault(points, arguments.fault)[:: arguments.every]
        print(f"{scenario}: {len(points)} points", flush=True)
        for call, n in points:
            place = tempfile.mkdtemp(prefix="everleaf-sweep-")
            tried += 1
            try:
                hit = try_point(place, scenario, arguments.binary, call, n, arguments.fault)
                killed += hit
                if arguments.verbose:
                    print(f"{call} #{n}: {'ok' if hit else 'not reached'}", flush=True)
                shutil.rmtree(place, ignore_errors=True)
            except Exception as e:  # every kind of failure is a finding, and the sweep goes on
                failed += 1
                print(f"FAIL {e!r}\n  left in {place}", flush=True)
    print(f"{tried} points, {killed} hits, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
