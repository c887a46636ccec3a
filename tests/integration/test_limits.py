"""What the CA allows is counted, kept, shown, and kept to before the CA says no."""

import time

from fake import ca as fake


def problem_429(text="too many"):
    return fake.problem("rateLimited", status=429, detail=text, headers={"Retry-After": "3600"})


def limits_of(everleaf):
    return {row["name"]: row for row in everleaf.status()["issuers"][0]["limits"]}


def test_orders_stop_at_the_configured_number(make_everleaf, ca, http_port):
    everleaf = make_everleaf().issuer(ca, limits={"orders": "2/1h"}).http_01(http_port)
    for name in "abc":
        everleaf.certificate(name)
    results = {r["name"]: r for r in everleaf.renew(expect=3).json["results"]}
    assert sorted(r["result"] for r in results.values()) == ["failed", "renewed", "renewed"]
    (late,) = [r for r in results.values() if r["result"] == "failed"]
    assert late["error"]["kind"] == "limited" and late["error"]["retry_at"] and late["next_try"]
    assert ca.count("new-order") == 2
    row = limits_of(everleaf)["orders"]
    assert (row["used"], row["max"]) == (2, 2) and row["free_at"]

    # The next process knows it, too; by force it goes ahead all the same.
    assert everleaf.renew(late["name"], expect=3).one["result"] == "backoff"
    assert ca.count("new-order") == 2
    assert everleaf.renew(late["name"], "--force").one["result"] == "renewed"
    assert ca.count("new-order") == 3


def test_requests_keep_to_their_rate(make_everleaf, ca, http_port):
    everleaf = make_everleaf().issuer(ca, limits={"requests": "4/s"}).http_01(http_port)
    everleaf.certificate("www")
    start = time.monotonic()
    everleaf.renew()
    sent = len(ca.calls)
    assert sent >= 9
    assert time.monotonic() - start >= (sent - 1) // 4, "more than 4 in some second"


def test_a_pause_is_an_alarm_with_the_link(everleaf, ca):
    everleaf.certificate("www", ["www.example.org"])
    link = "https://portal.example/sfe/v1/unpause?jwt=abc"
    ca.fault("new-order", problem_429(f"paused for www.example.org. Please visit: {link}"))
    error = everleaf.renew(expect=3).one["error"]
    assert link in error["hint"]
    assert everleaf.status()["issuers"][0]["paused"] is True
    assert everleaf.renew("www", expect=3).one["result"] == "backoff"
    assert ca.count("new-order") == 1
