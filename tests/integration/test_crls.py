"""Revocation lists: shared, conditional, kept, believed only when the issuer stands behind them."""

import datetime
import http.server
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from support import PORTS

from fake import pki

SECOND = datetime.timedelta(seconds=1)


class Shard:
    """A distribution point; what it serves may be changed at any time."""

    def __init__(self, issuer):
        self.port = PORTS.get()
        self.url = f"http://127.0.0.1:{self.port}/7.crl"
        self.issuer, self.revoked, self.life = issuer, [], 12
        self.fetches, self.conditional = 0, 0
        self.tell = self.good
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.fetches += 1
                body = outer.tell()
                tag = f'"{hash(body)}"'
                same = self.headers.get("if-none-match") == tag
                outer.conditional += "if-none-match" in self.headers
                self.send_response(304 if same else 200)
                self.send_header("etag", tag)
                self.send_header("content-length", "0" if same else str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if same else body)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def crl(self, issuer=None, url=None, first=-5, life=None):
        issuer = issuer or self.issuer
        now = datetime.datetime.utcnow().replace(microsecond=0)
        point = x509.IssuingDistributionPoint([x509.UniformResourceIdentifier(url or self.url)], None, False, False,
                                              None, False, False)
        builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer.cert.subject)
                   .last_update(now + first * SECOND).next_update(now + (life or self.life) * SECOND)
                   .add_extension(point, critical=True))
        for serial, reason in self.revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - SECOND)
                .add_extension(x509.CRLReason(reason), critical=False).build())
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def good(self):
        return self.crl()


@pytest.fixture
def shard(ca):
    shard = Shard(ca.intermediate)
    leaf = ca.intermediate.leaf
    ca.intermediate.leaf = lambda *args, **options: leaf(*args, crl_url=shard.url, **options)
    yield shard
    shard.close()


def test_one_fetch_serves_every_certificate_of_a_shard(everleaf, shard):
    shard.life = 3600
    for i in range(10):
        everleaf.certificate(f"c{i}")
    everleaf.listen().renew()
    agent = everleaf.agent()
    agent.wait_for(lambda: len(agent.metrics().all("everleaf_crl_next_update_timestamp_seconds")) == 10,
                   what="the list")
    assert shard.fetches == 1
    agent.stop()
    agent = everleaf.agent()
    agent.wait_for(lambda: len(agent.metrics().all("everleaf_crl_next_update_timestamp_seconds")) == 10,
                   what="the list of the disk")
    assert shard.fetches == 1
    assert agent.metrics().value("everleaf_crl_fetch_failures_total") == 0


def test_asks_whether_it_changed(everleaf, shard):
    shard.life = 30
    text = shard.crl()
    shard.tell = lambda: text
    everleaf.certificate("www").renew()
    everleaf.agent().wait_for(lambda: shard.fetches > 1, what="the second look")
    assert shard.conditional == shard.fetches - 1


def test_a_certificate_on_the_list_is_replaced_at_once(everleaf, ca, shard):
    everleaf.certificate("www").renew()
    agent = everleaf.agent()
    agent.wait_for(lambda: shard.fetches > 0, what="the first list")
    assert everleaf.generation() == 1
    shard.revoked.append((ca.issued[0][1].serial_number, x509.ReasonFlags.key_compromise))
    agent.wait_for(lambda: everleaf.generation() == 2, what="another certificate")
    assert len(ca.issued) == 2
    assert "keyCompromise" in agent.log and '"source":"crl"' in agent.log
    agent.wait_for(lambda: everleaf.one_status()["live"]["revoked"] is False, what="peace")


@pytest.mark.parametrize("lie", ["removed", "truncated", "other", "stranger", "elsewhere", "future", "over", "html",
                                 "huge"])
def test_lies_revoke_nothing(everleaf, ca, shard, lie):
    everleaf.listen().certificate("www").renew()
    serial = ca.issued[0][1].serial_number
    reason = x509.ReasonFlags.remove_from_crl if lie == "removed" else x509.ReasonFlags.key_compromise
    shard.revoked.append((serial, reason))
    stranger = pki.Authority("Fake Intermediate")
    lies = {
        "removed": shard.crl(),
        "truncated": shard.crl()[:-30],
        "other": shard.crl(issuer=pki.Authority("Another")),
        "stranger": shard.crl(issuer=stranger),
        "elsewhere": shard.crl(url=shard.url + "x"),
        "future": shard.crl(first=900, life=1800),
        "over": shard.crl(first=-900, life=-400),
        "html": b"<html>hello",
        "huge": bytes(33 * 1024 * 1024),
    }
    shard.tell = lambda: lies[lie]
    agent = everleaf.agent()

    def looked():
        metrics = agent.metrics()
        if lie == "removed":
            return metrics.all("everleaf_crl_next_update_timestamp_seconds")
        return metrics.value("everleaf_crl_fetch_failures_total") > 0

    agent.wait_for(looked, what="a look at the list")
    status = everleaf.one_status()
    assert status["live"]["revoked"] is False and status["generation"] == 1 and status["exit"] == 0
    assert len(ca.issued) == 1
