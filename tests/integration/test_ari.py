"""Renewal information (RFC 9773): the CA says when, and nothing it says does harm."""

import json
import ssl
import time
import urllib.request

import pytest

DAY = 86400


def ari_of(everleaf, name="www"):
    return everleaf.one_status(name)["renew"]


def orders(ca):
    return [c.payload for c in ca.calls if c.operation == "new-order"]


def test_the_window_decides_and_is_kept_over_restarts(everleaf, ca):
    ca.renewal_info = lambda cert: (30 * DAY, 40 * DAY)
    ca.explanation = "https://ca.test/why"
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ari_of(everleaf)["ari"]["start"], what="a window")
    renew = ari_of(everleaf)
    assert renew["reason"] == "ari" and renew["ari"]["url"] == "https://ca.test/why"
    assert renew["ari"]["start"] <= renew["at"] < renew["ari"]["end"]
    assert renew["ari"]["next_poll"]
    agent.stop()
    agent = everleaf.agent()
    assert ari_of(everleaf)["at"] == renew["at"]
    assert ca.count("renewal-info") == 1, "not asked again before Retry-After"
    assert everleaf.renew().one["result"] == "not-due"


def test_a_past_window_renews_at_once_and_names_its_predecessor(everleaf, ca):
    ca.renewal_info = lambda cert: (30 * DAY, 40 * DAY)
    everleaf.certificate("www")
    assert everleaf.renew().one["generation"] == 1
    first = []

    def revoked(cert):
        first.append(cert)
        return (-7200, -3600) if cert == first[0] else (30 * DAY, 40 * DAY)

    ca.renewal_info = revoked
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 2, what="the renewal")
    assert orders(ca)[-1]["replaces"] == first[0] and "replaces" not in orders(ca)[0]
    agent.wait_for(lambda: ari_of(everleaf)["ari"]["start"], what="the window of the new one")
    assert len(orders(ca)) == 2


def test_a_ca_that_always_says_now_is_no_loop(everleaf, ca):
    ca.renewal_info = lambda cert: (-7200, -3600)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 2 and ca.count("renewal-info") == 2, what="one renewal")
    agent.wait_for(lambda: ari_of(everleaf)["ari"]["start"], what="the next window")
    time.sleep(1)  # a loop would have made a dozen orders by now
    assert len(orders(ca)) == 2 and everleaf.generation() == 2


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{", b"<html>", b'{"suggestedWindow":{}}', b'{"suggestedWindow":{"start":"x","end":"y"}}',
    b'{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}',
    b'{"suggestedWindow":{"start":"9998-01-02T00:00:00Z","end":"9999-01-01T00:00:00Z"}}'])
def test_nonsense_is_no_answer(everleaf, ca, body):
    from fake.ca import answer
    ca.renewal_info = lambda cert: (30 * DAY, 40 * DAY)
    ca.fault("renewal-info", answer(200, body), times=None)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: ca.count("renewal-info") >= 1 and everleaf.generation() == 1)
    agent.wait_for(lambda: ari_of(everleaf)["ari"]["next_poll"], what="the next question")
    renew = ari_of(everleaf)
    assert renew["reason"] == "lifetime" and renew["ari"]["start"] is None
    assert len(orders(ca)) == 1


def test_the_timer_asks_before_it_says_that_nothing_is_due(everleaf, ca):
    ca.renewal_info = lambda cert: (-7200, -3600)
    everleaf.certificate("www")
    everleaf.renew()
    result = everleaf.renew("--due").one
    assert result["result"] == "renewed" and result["generation"] == 2
    assert orders(ca)[-1]["replaces"]
    assert everleaf.renew("--due").one["result"] == "not-due"


def test_without_ari_nobody_is_asked(everleaf, ca):
    everleaf.certificate("www")
    everleaf.renew()
    asked = len(ca.calls)
    assert everleaf.renew("--due").one["result"] == "not-due"
    assert everleaf.renew("--due").one["result"] == "not-due"
    assert ca.count("renewal-info") == 0
    assert len(ca.calls) <= asked + 1, "the directory, once"


def test_pebble_moves_a_window(make_pebble, make_everleaf, http_port):
    pebble = make_pebble("2.10")
    everleaf = make_everleaf().issuer(pebble).http_01(http_port).certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1 and ari_of(everleaf)["ari"]["start"], what="a window")
    assert ari_of(everleaf)["reason"] == "ari"
    agent.stop()
    context = ssl._create_unverified_context()
    window = json.dumps({"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}})
    pem = (everleaf.live() / "cert.pem").read_text()
    urllib.request.urlopen(urllib.request.Request(
        f"https://127.0.0.1:{pebble.management}/set-renewal-info/",
        json.dumps({"Certificate": pem, "ARIResponse": window}).encode()), context=context).read()
    everleaf.edit_document("schedule", lambda d: d["ari"].update(next_poll=None))
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 2, what="the renewal")
    agent.wait_for(lambda: ari_of(everleaf)["ari"]["start"], what="the new window")
    assert everleaf.document("schedule")["ari_renewals"] == 1
