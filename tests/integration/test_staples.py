"""Staples from the responder to the handshake: real CA, real nginx, responders that lie and that do not."""

import base64
import datetime
import http.server
import json
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from support import PORTS, stop_process, wait_for

from fake import pki

SECOND = datetime.timedelta(seconds=1)


def managed(pebble, path):
    context = ssl.create_default_context(cafile=pebble.ca_file)
    with urllib.request.urlopen(f"https://127.0.0.1:{pebble.management}/{path}", context=context) as reply:
        return reply.read()


class Responder:
    """Answers for the CA's certificates; `tell` says how, and may be changed at any time."""

    def __init__(self):
        self.port = PORTS.get()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = self.key = None
        self.requests = []
        self.tell = self.good
        self.life = 3600
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer("GET", base64.b64decode(urllib.parse.unquote(self.path[1:])))

            def do_POST(self):
                self.answer("POST", self.rfile.read(int(self.headers["content-length"])))

            def answer(self, method, der):
                request = ocsp.load_der_ocsp_request(der)
                outer.requests.append((method, request.serial_number))
                status, body = outer.tell(request)
                self.send_response(status)
                self.send_header("content-type", "application/ocsp-response")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, pebble):
        self.issuer = x509.load_pem_x509_certificate(managed(pebble, "intermediates/0"))
        self.key = serialization.load_pem_private_key(managed(pebble, "intermediate-keys/0"), None)
        return self

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def signed(self, request, status=ocsp.OCSPCertStatus.GOOD, first=-1, life=None, key=None):
        now = datetime.datetime.utcnow().replace(microsecond=0)
        revoked = status == ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=self.leaf, issuer=self.issuer, algorithm=request.hash_algorithm, cert_status=status,
            this_update=now + first * SECOND, next_update=now + (life or self.life) * SECOND,
            revocation_time=now - SECOND if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.issuer)
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    leaf = None
    leaves = None

    def good(self, request):
        self.leaf = self.leaves(request.serial_number)
        return 200, self.signed(request)

    def revoked(self, request):
        self.leaf = self.leaves(request.serial_number)
        return 200, self.signed(request, ocsp.OCSPCertStatus.REVOKED)

    def later(self, request):
        return 200, bytes.fromhex("30030a0103")

    def down(self, request):
        return 503, b"<html>"


@pytest.fixture
def responder():
    responder = Responder()
    yield responder
    responder.close()


@pytest.fixture
def pebble(make_pebble, responder):
    pebble = make_pebble("2.4", ocspResponderURL=responder.url)
    responder.of(pebble)

    def leaf(serial):
        text = json.loads(managed(pebble, f"cert-status-by-serial/{serial:x}"))["Certificate"]
        return x509.load_pem_x509_certificate(text.encode())

    responder.leaves = leaf
    return pebble


@pytest.fixture
def stapled(make_everleaf, pebble, http_port, nginx, tmp_path):
    """nginx includes what the live generation says about stapling."""
    everleaf = make_everleaf().issuer(pebble).http_01(http_port)
    live = everleaf.live()
    nginx.extra = f"    include {live}/nginx-stapling.con[f];\n"
    everleaf.nginx = nginx
    everleaf.port = nginx.site(live)
    everleaf.server("web", **nginx.settings(everleaf.port))
    everleaf.certificate("www", servers=["web"])
    return everleaf


def status_of(port, name="www.example.org"):
    """What `openssl s_client -status` gets: DER or None."""
    text = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-status",
                           "-tlsextdebug"], input=b"", capture_output=True, timeout=20).stdout.decode()
    return text


def is_stapled(port):
    text = status_of(port)
    assert "BEGIN CERTIFICATE" in text, text
    return "OCSP Response Status: successful" in text


def test_a_new_certificate_goes_live_with_its_staple(stapled, responder):
    stapled.certificate("www", servers=[]).renew()
    live = stapled.live()
    assert (live / "ocsp.der").exists()
    assert "ssl_stapling_file" in (live / "nginx-stapling.conf").read_text()
    assert responder.requests[0][0] == "GET"
    staple = stapled.one_status()["staple"]
    assert staple["status"] == "good" and staple["next_update"]
    stapled.nginx.start()
    assert is_stapled(stapled.port)
    old = (live / "ocsp.der").read_bytes()
    result = stapled.certificate("www", servers=["web"]).renew("--force", "www").one
    assert result["result"] == "renewed" and result["proven"], result
    assert (live / "ocsp.der").read_bytes() != old
    assert is_stapled(stapled.port)
    endpoint = stapled.one_status()["servers"][0]["endpoints"][0]
    assert endpoint["staple_matches"] is True
    seen = stapled.run("inspect", f"127.0.0.1:{stapled.port}", "--sni", "www.example.org", "--json").json
    assert seen["staple"]["status"] == "good" and seen["staple"]["matches_ours"] is True
    assert seen["staple"]["next_update"] == stapled.one_status()["staple"]["next_update"]
    text = stapled.run("inspect", f"127.0.0.1:{stapled.port}", "--sni", "www.example.org").stdout
    assert "good, until" in text and ", ours" in text


def test_a_staple_is_refreshed_and_withdrawn_before_its_end(stapled, responder):
    responder.life = 16
    stapled.certificate("www", servers=[]).renew()
    stapled.nginx.start()
    stapled.certificate("www", servers=["web"])
    agent = stapled.agent()
    first = (stapled.live() / "ocsp.der").read_bytes()
    agent.wait_for(lambda: (stapled.live() / "ocsp.der").read_bytes() != first, what="a fresh staple")
    agent.wait_for(lambda: stapled.nginx.reloads() > 0, what="its reload")
    assert is_stapled(stapled.port)
    responder.tell = responder.down
    agent.wait_for(lambda: not (stapled.live() / "ocsp.der").exists(), what="the withdrawal")
    assert (stapled.live() / "nginx-stapling.conf").read_text() == ""
    agent.wait_for(lambda: not is_stapled(stapled.port), what="nginx without it")
    assert stapled.one_status()["staple"]["status"] == "error"
    responder.tell = responder.good
    agent.wait_for(lambda: is_stapled(stapled.port), what="a staple again")


def test_a_restart_uses_what_is_there(stapled, responder):
    stapled.certificate("www", servers=[]).renew()
    asked = len(responder.requests)
    agent = stapled.agent()
    assert stapled.one_status()["staple"]["status"] == "good"
    time.sleep(1)
    assert len(responder.requests) == asked and agent.is_up()


def test_a_revoked_certificate_is_replaced_at_once(stapled, responder):
    responder.life = 12
    stapled.certificate("www", servers=[]).renew()
    old = pki.sha256(pki.certificates((stapled.live() / "cert.pem").read_text())[0])
    key = (stapled.live() / "privkey.pem").read_text()
    serial = responder.requests[0][1]
    responder.tell = lambda request: (responder.revoked if request.serial_number == serial
                                      else responder.good)(request)
    agent = stapled.agent()
    agent.wait_for(lambda: stapled.generation() == 2, what="another generation")
    assert pki.sha256(pki.certificates((stapled.live() / "cert.pem").read_text())[0]) != old
    assert (stapled.live() / "privkey.pem").read_text() != key
    agent.wait_for(lambda: stapled.one_status()["staple"]["status"] == "good", what="its staple")
    assert "revoked" in agent.log and "keyCompromise" in agent.log


@pytest.mark.parametrize("lie", ["later", "down", "garbage", "other", "stranger", "future", "over", "huge"])
def test_lies_are_never_stapled(stapled, responder, lie):
    stranger = pki.new_key()

    def tell(request):
        responder.leaf = responder.leaves(request.serial_number)
        if lie == "other":
            responder.leaf = pki.Authority("x").leaf(pki.new_key().public_key(), ["x.example"])
        return {
            "garbage": lambda: (200, b"<html><body>hello"),
            "other": lambda: (200, responder.signed(request)),
            "stranger": lambda: (200, responder.signed(request, key=stranger)),
            "future": lambda: (200, responder.signed(request, first=900)),
            "over": lambda: (200, responder.signed(request, first=-900, life=-400)),
            "huge": lambda: (200, bytes(10 * 1024 * 1024)),
            "later": lambda: responder.later(request),
            "down": lambda: responder.down(request),
        }[lie]()

    responder.tell = tell
    stapled.certificate("www", servers=[]).renew()
    assert not (stapled.live() / "ocsp.der").exists()
    assert (stapled.live() / "nginx-stapling.conf").read_text() == ""
    assert stapled.one_status()["staple"]["status"] == "error"


def test_openssl_ocsp_is_understood(make_everleaf, make_pebble, http_port, tmp_path):
    """The real program, with the CA's own key."""
    port = PORTS.get()
    pebble = make_pebble("2.4", ocspResponderURL=f"http://127.0.0.1:{port}")
    (tmp_path / "ca.pem").write_bytes(managed(pebble, "intermediates/0"))
    (tmp_path / "ca.key").write_bytes(managed(pebble, "intermediate-keys/0"))
    everleaf = make_everleaf().issuer(pebble).http_01(http_port).certificate("www")
    everleaf.renew()  # nobody answers: no staple, but a certificate
    assert not (everleaf.live() / "ocsp.der").exists()
    serial = everleaf.one_status()["live"]["serial"].upper()
    serial = serial if len(serial) % 2 == 0 else "0" + serial
    (tmp_path / "index").write_text(f"V\t350101000000Z\t\t{serial}\tunknown\t/CN=www\n")
    process = subprocess.Popen(
        [shutil.which("openssl"), "ocsp", "-port", str(port), "-index", str(tmp_path / "index"), "-CA",
         str(tmp_path / "ca.pem"), "-rsigner", str(tmp_path / "ca.pem"), "-rkey", str(tmp_path / "ca.key"),
         "-nmin", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        agent = everleaf.agent()
        agent.wait_for(lambda: (everleaf.live() / "ocsp.der").exists(), what="the staple")
        check = subprocess.run(
            ["openssl", "ocsp", "-respin", str(everleaf.live() / "ocsp.der"), "-issuer", str(tmp_path / "ca.pem"),
             "-cert", str(everleaf.live() / "cert.pem"), "-CAfile", str(tmp_path / "ca.pem"), "-partial_chain"],
            capture_output=True, text=True)
        assert ": good" in check.stdout, check.stdout + check.stderr
    finally:
        stop_process(process)
    wait_for(lambda: everleaf.one_status()["staple"]["status"] == "good", what="status")


def ask(url, everleaf, issuer, method):
    leaf = x509.load_pem_x509_certificate((everleaf.live() / "cert.pem").read_bytes())
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
    der = request.public_bytes(serialization.Encoding.DER)
    if method == "POST":
        question = urllib.request.Request(url, der, {"content-type": "application/ocsp-request"})
    else:
        question = url + "/" + urllib.parse.quote(base64.b64encode(der).decode(), safe="")
    with urllib.request.urlopen(question) as reply:
        assert reply.headers["content-type"] == "application/ocsp-response"
        return reply.read()


def test_the_local_responder_answers_with_what_is_held(stapled, pebble, responder):
    port = PORTS.get()
    stapled.config["agent"]["ocsp_listen"] = f"127.0.0.1:{port}"
    url = f"http://127.0.0.1:{port}"
    stapled.certificate("www", servers=[]).renew()
    agent = stapled.agent()
    agent.wait_for(lambda: "OCSP responder" in agent.log, what="the responder")
    held = (stapled.live() / "ocsp.der").read_bytes()
    assert ask(url, stapled, responder.issuer, "GET") == held
    assert ask(url, stapled, responder.issuer, "POST") == held
    later = bytes.fromhex("30030a0103")
    assert ask(url, stapled, pki.Authority("another").cert, "GET") == later
    for path in ("", "/", "/metrics", "/" + "A" * 5000):
        with urllib.request.urlopen(url + path) as reply:
            assert reply.read() == bytes.fromhex("30030a0101")
    big = urllib.request.Request(url, bytes(100000), {"content-type": "application/ocsp-request"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(big)
    assert refused.value.code == 413


def test_nginx_may_ask_the_local_responder(stapled, pebble, responder):
    port = PORTS.get()
    stapled.config["agent"]["ocsp_listen"] = f"127.0.0.1:{port}"
    stapled.certificate("www", servers=[]).renew()
    agent = stapled.agent()
    agent.wait_for(lambda: "OCSP responder" in agent.log, what="the responder")
    stapled.nginx.extra = f"    ssl_stapling on;\n    ssl_stapling_responder http://127.0.0.1:{port}/;\n"
    stapled.nginx.start()
    agent.wait_for(lambda: is_stapled(stapled.port), what="nginx with a staple")


def test_must_staple_goes_live_only_with_a_staple(make_everleaf, make_pebble, responder, http_port):
    """Pebble copies must-staple from the CSR since 2.5."""
    pebble = make_pebble("2.10", ocspResponderURL=responder.url)
    responder.of(pebble)
    responder.leaves = lambda serial: x509.load_pem_x509_certificate(
        json.loads(managed(pebble, f"cert-status-by-serial/{serial:x}"))["Certificate"].encode())
    responder.tell = responder.later
    everleaf = make_everleaf().issuer(pebble).http_01(http_port)
    everleaf.certificate("www", ocsp={"must_staple": True})
    agent = everleaf.agent()
    agent.wait_for(lambda: "does not go live without a staple" in agent.log, what="the refusal")
    assert everleaf.one_status()["generation"] is None
    responder.tell = responder.good
    agent.wait_for(lambda: everleaf.one_status()["generation"] == 1, what="the certificate", timeout=60)
    assert (everleaf.live() / "ocsp.der").exists()
    assert everleaf.one_status()["error"] is None


def test_the_configuration_chooses_digest_and_responder(stapled, pebble, responder):
    other = Responder().of(pebble)
    other.leaves = responder.leaves
    try:
        stapled.certificate("www", ocsp={"hash": "sha256", "responder": other.url})
        stapled.renew()
        assert [method for method, _ in other.requests] == ["GET"] and responder.requests == []
        stapled.certificate("www", ocsp={"enabled": False})
        stapled.renew("--force", "www")
        assert len(other.requests) == 1 and responder.requests == []
        assert stapled.one_status()["staple"]["status"] == "none"
    finally:
        other.close()


def test_what_a_kill_left_is_not_served_beyond_its_end(stapled, responder):
    responder.life = 6
    stapled.certificate("www", servers=[]).renew()
    generation = stapled.live()
    assert (generation / "ocsp.der").exists()
    responder.tell = responder.down
    stapled.edit_document("staple", lambda document: document.update(held=False))
    agent = stapled.agent()
    agent.wait_for(lambda: not (generation / "ocsp.der").exists(), what="the withdrawal")
    assert (generation / "nginx-stapling.conf").read_text() == ""


def test_a_staple_goes_when_stapling_is_switched_off(stapled, responder):
    stapled.certificate("www", servers=[]).renew()
    stapled.certificate("www", servers=[], ocsp={"enabled": False})
    agent = stapled.agent()
    agent.wait_for(lambda: not (stapled.live() / "ocsp.der").exists(), what="the withdrawal")
    assert stapled.one_status()["staple"]["status"] == "none"
