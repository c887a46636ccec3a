"""A CA that is away: one try in a while, whoever waits for it; then all, oldest need first."""

import re

from fake import ca as fake


def test_many_wait_for_one_try_and_all_follow_when_it_is_back(everleaf, ca):
    names = [f"c{i}" for i in range(40)]
    for name in names:
        everleaf.certificate(name)
    everleaf.config["agent"]["concurrency"] = 2
    everleaf.write()
    ca.pause()
    agent = everleaf.agent()
    agent.wait_for(lambda: "the CA does not answer" in agent.log, what="the outage")
    agent.wait_for(lambda: {c["activity"] for c in everleaf.status()["certificates"]} == {None})
    failed = re.findall('"event":"renewal failed","certificate":"(c[0-9]+)"', agent.log)
    assert 1 <= len(failed) <= 6, "the others stand by"
    ca.resume()
    everleaf.renew(names[-1])  # who asks by name is the next try
    agent.wait_for(lambda: sum(everleaf.generation(n) == 1 for n in names) >= len(names) - len(failed),
                   what="all that stood by")
    assert "the CA answers again" in agent.log


def test_a_one_shot_does_not_ask_a_dead_ca_for_every_certificate(everleaf, ca):
    for i in range(60):
        everleaf.certificate(f"c{i}")
    everleaf.config["agent"]["concurrency"] = 2
    ca.pause()
    result = everleaf.renew("--due", expect=3)
    states = [r["result"] for r in result.json["results"]]
    assert 1 <= states.count("failed") <= 6 and states.count("backoff") == 60 - states.count("failed")
    assert result.seconds < 20
    ca.resume()


def test_a_503_with_retry_after_is_everybodys_pause(everleaf, ca):
    for i in range(20):
        everleaf.certificate(f"c{i}")
    everleaf.config["agent"]["concurrency"] = 2
    ca.fault("new-order", fake.problem("serverInternal", status=503, headers={"Retry-After": "3600"}), times=None)
    results = everleaf.renew("--due", expect=3).json["results"]
    assert ca.count("new-order") <= 2
    assert sum(r["result"] == "failed" for r in results) <= 4
