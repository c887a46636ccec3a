import json
import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

from fake import pki  # noqa: E402
from machine import Machine, wait_for  # noqa: E402

PEBBLE = HERE.parents[1] / "build/pebble-2.10/usr/bin"
MAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

PEBBLE_UNITS = {
    "dns.service": "pebble-challtestsrv -dnsserver 127.0.0.1:8053 -management 127.0.0.1:8055 -http01 '' "
                   "-https01 '' -tlsalpn01 '' -doh '' -defaultIPv4 127.0.0.1 -defaultIPv6 ''",
    "pebble.service": "pebble -config /etc/pebble/pebble.json -strict -dnsserver 127.0.0.1:8053",
}

NGINX = """
events {}
http {
    server {
        listen 127.0.0.1:443 ssl;
        server_name www.example.org;
        ssl_certificate /var/lib/everleaf/live/www/fullchain.pem;
        ssl_certificate_key /var/lib/everleaf/live/www/privkey.pem;
    }
}
"""


def install_pebble(machine):
    """A CA in the machine, which validates at port 80 as the real ones do."""
    place = machine.root / "etc/pebble"
    place.mkdir()
    root = pki.Authority("Pebble TLS root")
    pki.write_server_pair(root, place, ["localhost", "127.0.0.1"], "tls")
    machine.write("/etc/everleaf/pebble-ca.pem", root.pem)
    machine.write("/etc/pebble/pebble.json", json.dumps({"pebble": {
        "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/etc/pebble/tls.pem", "privateKey": "/etc/pebble/tls.key",
        "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
        "externalAccountBindingRequired": False, "externalAccountMACKeys": {"kid-1": MAC},
        "profiles": {"default": {"description": "ninety days", "validityPeriod": 7776000}},
    }}))
    for program in ("pebble", "pebble-challtestsrv"):
        shutil.copy(PEBBLE / program, machine.root / "usr/local/bin")
    for unit, command in PEBBLE_UNITS.items():
        machine.write(f"/etc/systemd/system/{unit}",
                      f"[Service]\nExecStart=/usr/local/bin/{command}\n"
                      # Each order is validated anew, or renewals would prove nothing about port 80.
                      "Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0 GOMAXPROCS=1\n")
    machine.write("/etc/nginx/nginx.conf", "user www-data;\npid /run/nginx.pid;\n" + NGINX)


@pytest.fixture(scope="session")
def machine():
    """Booted, with a CA and nginx; everleaf is a package in /debs."""
    m = Machine(os.environ["EVERLEAF_ROOT"])
    try:
        m.boot()
        install_pebble(m)
        m.run("systemctl", "daemon-reload")
        m.run("systemctl", "start", *PEBBLE_UNITS)
        wait_for(lambda: m.run("curl", "-sk", "https://127.0.0.1:14000/dir", check=False).code == 0,
                 what="Pebble")
        yield m
    finally:
        m.poweroff()
