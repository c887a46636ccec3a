"""`inspect`: what a file or an endpoint holds."""

import pytest
from support import PORTS, read_pair, served_sha256

from fake import pki


@pytest.fixture
def authority(tmp_path):
    root = pki.Authority("Inspect Root")
    (tmp_path / "root.pem").write_text(root.pem)
    root.file = tmp_path / "root.pem"
    root.intermediate = pki.Authority("Inspect Intermediate", root)
    return root


@pytest.fixture
def inspect(make_everleaf):
    everleaf = make_everleaf()

    def run(*arguments, expect=0):
        everleaf.run("inspect", *arguments, config=False, expect=expect)
        result = everleaf.run("inspect", "--json", *arguments, config=False, expect=expect)
        document = result.json
        assert document["schema"] == "everleaf.inspect/1" and document["exit"] == expect
        return document

    run.everleaf = everleaf
    return run


def write(tmp_path, name, *parts):
    file = tmp_path / name
    file.write_text("".join(parts))
    return file


def test_file_with_key_and_chain(inspect, authority, tmp_path):
    key = pki.new_key()
    leaf = authority.intermediate.leaf(key.public_key(), ["a.example.org", "192.0.2.1"])
    file = write(tmp_path, "all.pem", pki.key_pem(key), pki.pem(leaf), authority.intermediate.pem)
    document = inspect(file, "--ca-file", authority.file)
    assert document["source"]["file"] == str(file) and document["source"]["connect"] is None
    assert document["leaf"]["sha256"] == pki.sha256(leaf)
    assert document["leaf"]["serial"].lstrip("0") == f"{leaf.serial_number:x}"
    assert sorted(document["leaf"]["names"]) == ["192.0.2.1", "a.example.org"]
    assert [c["sha256"] for c in document["chain"]] == [pki.sha256(authority.intermediate.cert)]
    assert document["key"] == {"present": True, "matches": True}
    assert document["trust"] == "ok" and document["tls"] is None
    assert document["managed"] is None
    text = inspect.everleaf.run("inspect", file, "--ca-file", authority.file, config=False).stdout
    for part in ("a.example.org", "192.0.2.1", "Inspect Intermediate", "ECDSA" if "ECDSA" in text else "ecdsa"):
        assert part in text


def test_key_never_shows(inspect, authority, tmp_path):
    key = pki.new_key()
    leaf = authority.leaf(key.public_key(), ["a.example.org"])
    file = write(tmp_path, "all.pem", pki.pem(leaf), pki.key_pem(key))
    result = inspect.everleaf.run("inspect", file, "-v", config=False)
    assert pki.key_pem(key).splitlines()[2] not in result.stdout + result.stderr


@pytest.mark.parametrize("case", ["unknown-ca", "self-signed", "incomplete", "expired", "mismatch"])
def test_trust_of_a_file(inspect, authority, tmp_path, case):
    key = pki.new_key()
    options = {"issuer_url": "http://ca.example.org/intermediate.der"}
    if case == "expired":
        options = {"not_before": pki.now() - 10 * pki.DAY, "lifetime": 5 * pki.DAY}
    leaf = authority.intermediate.leaf(key.public_key(), ["a.example.org"], **options)
    parts = [pki.pem(leaf), authority.intermediate.pem]
    arguments = ["--ca-file", authority.file]
    expect = 0
    if case == "unknown-ca":
        arguments = []
    elif case == "incomplete":
        parts.pop()
    elif case == "self-signed":
        parts = [authority.pem]
        arguments = []
    elif case == "mismatch":
        parts.append(pki.key_pem(pki.new_key()))
        expect = 3
    elif case == "expired":
        expect = 3
    document = inspect(write(tmp_path, "x.pem", *parts), *arguments, expect=expect)
    if case == "mismatch":
        assert document["key"] == {"present": True, "matches": False}
    else:
        assert document["trust"] == case and document["trust_text"]


def test_endpoint(inspect, authority, make_endpoint, tmp_path):
    key = pki.new_key()
    leaf = authority.intermediate.leaf(key.public_key(), ["localhost", "a.example.org"])
    write(tmp_path, "fullchain.pem", pki.pem(leaf), authority.intermediate.pem)
    write(tmp_path, "privkey.pem", pki.key_pem(key))
    endpoint = make_endpoint(tmp_path).load()
    document = inspect(endpoint.connect, "--sni", "a.example.org", "--ca-file", authority.file)
    assert document["source"]["connect"] == endpoint.connect and document["source"]["sni"] == "a.example.org"
    assert document["leaf"]["sha256"] == pki.sha256(leaf) and document["trust"] == "ok"
    assert document["tls"]["version"] == "TLSv1.3" and document["tls"]["cipher"]
    assert document["tls"]["handshake_ms"] >= 0 and document["key"]["present"] is False
    assert "a.example.org" in endpoint.names_asked
    document = inspect(endpoint.connect, "--sni", "other.example.net", "--ca-file", authority.file)
    assert document["trust"] == "name-mismatch"
    document = inspect(f"localhost:{endpoint.port}", "--ca-file", authority.file)
    assert document["trust"] == "ok"


def test_what_cannot_be_found_out(inspect, tmp_path):
    port = PORTS.get()
    inspect.everleaf.run("inspect", f"127.0.0.1:{port}", config=False, expect=4)
    inspect.everleaf.run("inspect", f"127.0.0.1:{port}", "--json", config=False, expect=4).json
    inspect.everleaf.run("inspect", tmp_path / "missing.pem", config=False, expect=4)
    inspect.everleaf.run("inspect", "no-such-host.invalid:443", config=False, expect=4)
    garbage = write(tmp_path, "garbage.pem", "hello\n")
    assert inspect.everleaf.run("inspect", garbage, config=False).code in (3, 4)


def test_managed_certificates_are_recognised(everleaf, ca, make_endpoint, tmp_path):
    everleaf.certificate("www").renew()
    endpoint = make_endpoint(everleaf.live()).load()
    read_pair(everleaf.live())
    inspected = everleaf.run("inspect", "--json", endpoint.connect, "--sni", "www.example.org", expect=0).json
    assert inspected["managed"] == {"name": "www", "generation": 1, "is_live": True}
    everleaf.renew("www", "--force")
    assert served_sha256(endpoint.port) == inspected["leaf"]["sha256"]
    stale = everleaf.run("inspect", "--json", endpoint.connect, "--sni", "www.example.org", expect=3).json
    assert stale["managed"] == {"name": "www", "generation": 1, "is_live": False}
    file = everleaf.run("inspect", "--json", everleaf.live() / "fullchain.pem", expect=0).json
    assert file["managed"]["generation"] == 2
