"""Many at once: one works, the others wait and look again."""

import subprocess

from support import clean_environment, read_pair, wait_for

from fake.ca import hang


def start(everleaf, *arguments):
    return subprocess.Popen([everleaf.binary, "renew", "--json", *arguments, "-c", str(everleaf.file)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())


def finish(processes, timeout=120):
    results = []
    for process in processes:
        out, err = process.communicate(timeout=timeout)
        results.append((process.returncode, out.decode(), err.decode()))
    return results


def test_twenty_renewals_at_once_make_one_account_and_one_order(everleaf, ca):
    everleaf.certificate("www").write()
    results = finish([start(everleaf) for _ in range(20)])
    assert {code for code, _, _ in results} == {0}, results
    assert len(ca.accounts) == len(ca.orders) == len(ca.issued) == 1
    read_pair(everleaf.live())
    assert everleaf.generation() == 1


def test_renewals_beside_a_starting_agent(everleaf, ca):
    everleaf.certificate("www").write()
    agent = everleaf.agent(wait=False)
    results = finish([start(everleaf) for _ in range(8)])
    agent.wait_for(lambda: everleaf.generation() == 1)
    assert {code for code, _, _ in results} == {0}, results
    assert len(ca.accounts) == len(ca.orders) == 1


def test_concurrent_requests_to_the_agent_are_one_renewal(everleaf, ca):
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1 and everleaf.one_status()["activity"] is None)
    ca.authorization_polls = 2
    results = finish([start(everleaf, "www", "--force") for _ in range(6)])
    assert {code for code, _, _ in results} == {0}, results
    assert 2 <= len(ca.orders) <= 7 and len(ca.accounts) == 1
    read_pair(everleaf.live())


def test_waiting_process_takes_over_when_the_first_is_killed(everleaf, ca):
    everleaf.certificate("www").write()
    ca.fault("new-order", hang, times=1)
    first = start(everleaf)
    wait_for(lambda: ca.count("new-order") == 1)
    second = start(everleaf)
    first.kill()
    first.wait()
    ((code, out, err),) = finish([second])
    assert code == 0, out + err
    assert len(ca.accounts) == 1
    read_pair(everleaf.live())


def test_lock_file_content_is_never_trusted(everleaf, ca):
    everleaf.certificate("www").renew()
    (everleaf.state / "lock").write_bytes(b"\0" * 100000)
    assert everleaf.renew("www").one["result"] == "not-due"
    (everleaf.state / "lock").write_bytes(b"1\n\x1b[31m")
    result = everleaf.renew("www", "--force")
    assert result.one["result"] == "renewed" and "\x1b" not in result.stderr
