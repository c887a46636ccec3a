"""Everything in examples/ and in README.md is real: configurations load, snippets forward."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from support import (EVERLEAF_RELEASE, PORTS, ROOT, clean_environment, is_listening, stop_process,
                     wait_for)

from fake import pki

EXAMPLES = ROOT / "examples"
CONFIGURATIONS = sorted(p for p in EXAMPLES.rglob("*.yaml"))


def filled(text, place):
    return text.replace("@DIR@", str(place))


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_example_configuration_loads(make_everleaf, path, tmp_path):
    everleaf = make_everleaf()
    for name in ("ca.pem", "pebble-ca.pem"):
        (tmp_path / name).write_text(pki.Authority("A CA").pem)
    text = filled(path.read_text(), tmp_path)
    for foreign in re.findall(r"file: (/etc/everleaf/[\w.-]+)", text):
        own = tmp_path / foreign.rsplit("/", 1)[1]
        if not own.exists():
            own.write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\n")
        own.chmod(0o600)
        text = text.replace(foreign, str(own))
    everleaf.write(text)
    result = everleaf.run("check", expect=0)
    assert "ok, " in result.stdout and "error" not in result.stderr


def test_configurations_in_the_documents_load(make_everleaf):
    blocks = []
    for document in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text()
        blocks += [b for b in re.findall(r"```yaml\n(.*?)```", text, re.S) if "certificates:" in b]
    assert blocks
    everleaf = make_everleaf()
    for block in blocks:
        everleaf.write(block)
        everleaf.run("check", expect=0)


@pytest.fixture
def forwarded(everleaf, ca, http_port):
    """The CA looks at the server's port; the program listens behind it."""
    behind = PORTS.get()
    everleaf.config["challenges"]["web"]["listen"] = f"127.0.0.1:{behind}"
    everleaf.certificate("www")
    everleaf.behind, everleaf.front = behind, http_port
    return everleaf


def snippet(name, everleaf):
    text = (EXAMPLES / "forward" / name).read_text()
    assert "127.0.0.1:9480" in text
    return text.replace("127.0.0.1:9480", f"127.0.0.1:{everleaf.behind}")


def assert_forwards(everleaf):
    wait_for(lambda: is_listening(everleaf.front), what="the server in front")
    assert everleaf.renew().one["result"] == "renewed"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{everleaf.front}/other", timeout=5) as reply:
        assert reply.status in (200, 204), "other paths are the server's own"


def test_nginx_forwards_the_challenge(forwarded, nginx, tmp_path):
    file = tmp_path / "acme.conf"
    file.write_text(snippet("nginx.conf", forwarded))
    nginx.extra = (f"server {{ listen 127.0.0.1:{forwarded.front}; include {file}; "
                   'location / { return 200 "own"; } }')
    nginx.start()
    assert_forwards(forwarded)


def test_apache_forwards_the_challenge(forwarded, tmp_path):
    program = shutil.which("apache2", path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("Apache is not installed")
    modules = "/usr/lib/apache2/modules"
    config = tmp_path / "apache.conf"
    loads = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in
                      ("mpm_event", "authz_core", "proxy", "proxy_http", "alias"))
    config.write_text(
        f"{loads}\nServerRoot {tmp_path}\nPidFile {tmp_path}/apache.pid\nErrorLog {tmp_path}/apache.log\n"
        f"ServerName localhost\nListen 127.0.0.1:{forwarded.front}\nUser www-data\nGroup www-data\n"
        f"Mutex file:{tmp_path}\nRedirect 204 /other\n" + snippet("apache.conf", forwarded))
    server = subprocess.Popen([program, "-DFOREGROUND", "-f", str(config)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert_forwards(forwarded)
    finally:
        stop_process(server)


def test_haproxy_forwards_the_challenge(forwarded, tmp_path):
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("HAProxy is not installed")
    text = snippet("haproxy.cfg", forwarded)
    front = re.sub(r"bind :80\b", f"bind 127.0.0.1:{forwarded.front}", text)
    assert front != text
    config = tmp_path / "haproxy.cfg"
    config.write_text("defaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n"
                      "    timeout server 5s\n" + front + "\nbackend web\n    http-request return status 200\n")
    server = subprocess.Popen([program, "-db", "-f", str(config)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert_forwards(forwarded)
    finally:
        stop_process(server)


def test_nginx_configuration_of_the_quick_start(tmp_path, nginx):
    text = filled((EXAMPLES / "quickstart/nginx.conf").read_text(), tmp_path)
    (tmp_path / "forward").mkdir()
    shutil.copy(EXAMPLES / "forward/nginx.conf", tmp_path / "forward/nginx.conf")
    for folder in set(re.findall(r"ssl_certificate +(\S+)/fullchain\.pem;", text)):
        nginx.self_signed(folder)
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    check = subprocess.run([nginx.BINARY, "-t", "-c", str(config), "-e", str(tmp_path / "error.log")],
                           capture_output=True, text=True, timeout=20, check=False)
    assert check.returncode == 0, check.stderr


def test_quick_start():
    busy = [port for port in (5002, 5443, 8053, 8055, 9402, 9480, 14000, 15000) if is_listening(port)]
    if busy:
        pytest.skip(f"the quick start's ports are in use here: {busy}")
    result = subprocess.run([EXAMPLES / "quickstart.sh"], capture_output=True, text=True, timeout=300,
                            env=clean_environment(EVERLEAF_BUILD=str(Path(EVERLEAF_RELEASE).parent)),
                            stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for part in ("nginx shows the new certificate", "none failed", "everleaf_renewals_total", "For a real name"):
        assert part in result.stdout
    assert not any(is_listening(port) for port in (5002, 5443, 9402, 14000)), "something was left running"
