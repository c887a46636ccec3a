"""kill -9 in the middle: a sample of the points of tests/crash/sweep.py, and the steps of an order."""

import os
import shutil
import signal
import subprocess

import pytest
from crash import sweep
from support import EVERLEAF_RELEASE, clean_environment, read_pair, wait_for

from fake import pki
from fake.ca import DROP

SLICES = 8
POINTS_PER_SLICE = 4


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    if not shutil.which("strace"):
        pytest.skip("strace is not there")
    try:
        return {scenario: sweep.count_points(tmp_path_factory.mktemp("count"), scenario, EVERLEAF_RELEASE)
                for scenario in sweep.SCENARIOS}
    except PermissionError as e:
        pytest.skip(f"strace may not trace here: {e}")


@pytest.mark.parametrize("slice_", range(SLICES))
@pytest.mark.parametrize("scenario", sweep.SCENARIOS)
def test_sample_of_kill_points(points, tmp_path, scenario, slice_):
    chosen = sweep.sample(points[scenario], SLICES * POINTS_PER_SLICE)[slice_::SLICES]
    assert chosen
    for i, (call, n) in enumerate(chosen):
        place = tmp_path / str(i)
        place.mkdir()
        sweep.try_point(place, scenario, EVERLEAF_RELEASE, call, n)


@pytest.mark.parametrize("slice_", range(2))
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("scenario", sweep.SCENARIOS)
def test_sample_of_calls_that_fail(points, tmp_path, scenario, fault, slice_):
    chosen = sweep.sample(sweep.for_fault(points[scenario], fault), 8)[slice_::2]
    for i, (call, n) in enumerate(chosen):
        place = tmp_path / str(i)
        place.mkdir()
        sweep.try_point(place, scenario, EVERLEAF_RELEASE, call, n, fault)


STEPS = ["directory", "new-nonce", "new-account", "new-order", "authorization", "challenge", "finalize",
         "order", "certificate"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_kill_in_each_step_of_an_order(everleaf, ca, step, when):
    """The CA kills the client when a request arrives: before it was carried out, or after that."""
    ca.finalize_polls = 1
    everleaf.certificate("www").write()
    process = subprocess.Popen([everleaf.binary, "renew", "-c", str(everleaf.file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())

    def kill(call, proceed):
        if when == "after":
            proceed()
        process.kill()
        process.wait()
        return DROP

    ca.fault(step, kill)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL
    result = everleaf.renew(expect=(0, 3))
    if result.code == 3:
        assert step == "challenge", result
        result = everleaf.renew("www")
    assert result.one["result"] == "renewed"
    read_pair(everleaf.live())
    assert len(ca.accounts) == 1 and len(ca.issued) == 1
    lost = step == "new-order" and when == "after"
    # Validated while nobody answered any more: that order is lost, too, and not by us.
    failed = any(order.status == "invalid" for order in ca.orders.values())
    assert len(ca.orders) == (2 if lost or failed else 1)


def test_agent_killed_again_and_again(everleaf, ca, tmp_path):
    """Ten kills at arbitrary instants while three certificates are ordered."""
    for name in "abc":
        everleaf.certificate(name, outputs=[{"type": "files", "dir": str(tmp_path / name)}])
    ca.authorization_polls = ca.finalize_polls = 1
    for kills in range(10):
        agent = everleaf.agent(wait=False)
        seen = len(ca.calls)
        wait_for(lambda: len(ca.calls) >= seen + 2 + kills or everleaf.status()["exit"] == 0)
        agent.kill()
        for name in "abc":
            if (tmp_path / name / "..data").exists():
                read_pair(tmp_path / name / "..data")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.status()["exit"] == 0)
    for name in "abc":
        assert pki.sha256(read_pair(tmp_path / name)) == pki.sha256(read_pair(everleaf.live(name)))
    assert len(ca.accounts) == 1 and len(ca.issued) == 3, "\n".join(map(repr, ca.calls))
    assert os.listdir(everleaf.state / "live") and len(ca.orders) <= 13
