"""`starttls` against the programs that speak it: what `inspect` sees is what they serve, and one that
does not offer TLS is told as such."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from real_servers import NAME, Dovecot, Postfix, Postgresql, Server
from support import is_listening

from fake import pki

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="real servers are started by root")


class Plain(Server):
    """One that is up when it listens."""

    tls = True

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        return is_listening(self.port)


class Smtp(Plain, Postfix):
    def write(self):
        super().write()
        if not self.tls:
            main = self.place / "etc/main.cf"
            main.write_text(main.read_text().replace("smtpd_tls_security_level = may", ""))


class Imap(Plain, Dovecot):
    before_tls = "imap"

    def write(self):
        super().write()
        config = self.place / "dovecot.conf"
        text = config.read_text().replace("ssl = yes", "ssl = no").replace("protocols = imap", self.protocols())
        config.write_text(text if self.tls else text.replace("ssl = required", "ssl = no"))

    def protocols(self):
        return "protocols = imap"


class Pop3(Imap):
    before_tls, program = "pop3", "/usr/lib/dovecot/pop3-login"

    def protocols(self):
        return f"""protocols = pop3
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {self.port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}"""


class Ftp(Plain):
    before_tls, program = "ftp", "vsftpd"

    def write(self):
        (self.place / "empty").mkdir(exist_ok=True)
        tls = f"""ssl_enable=YES
rsa_cert_file={self.cert}
rsa_private_key_file={self.key}
""" if self.tls else ""
        (self.place / "vsftpd.conf").write_text(f"""listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port={self.port}
background=NO
anonymous_enable=NO
local_enable=YES
seccomp_sandbox=NO
ftpd_banner=A line of welcome
secure_chroot_dir={self.place}/empty
{tls}""")

    def argv(self):
        return ["/usr/sbin/vsftpd", str(self.place / "vsftpd.conf")]


class Ldap(Plain):
    before_tls, program = "ldap", "slapd"

    def write(self):
        tls = f"TLSCertificateFile {self.cert}\nTLSCertificateKeyFile {self.key}\n" if self.tls else ""
        (self.place / "slapd.conf").write_text(f"""include /etc/ldap/schema/core.schema
pidfile {self.pid_file}
{tls}""")

    def argv(self):
        return ["/usr/sbin/slapd", "-d", "0", "-h", f"ldap://127.0.0.1:{self.port}/",
                "-f", str(self.place / "slapd.conf")]


class Postgres(Plain, Postgresql):
    def write(self):
        super().write()
        if not self.tls:
            config = self.place / "data/postgresql.auto.conf"
            config.write_text(config.read_text().replace("ssl = on", "ssl = off"))


class Mysql(Plain):
    before_tls, program, user = "mysql", "mariadbd", "mysql"

    def write(self):
        shutil.chown(self.place, self.user)
        subprocess.run(["/usr/bin/mariadb-install-db", "--no-defaults", f"--datadir={self.place}/data",
                        "--user=mysql", "--skip-test-db"], check=True, stdout=subprocess.DEVNULL,
                       cwd=self.place, env=self.environment())

    def argv(self):
        tls = [f"--ssl-cert={self.cert}", f"--ssl-key={self.key}"] if self.tls else []
        return ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.place}/data", "--user=mysql",
                f"--socket={self.place}/mysql.sock", f"--pid-file={self.place}/mysql.pid",
                f"--port={self.port}", "--bind-address=127.0.0.1", "--innodb-fast-shutdown=2",
                "--innodb-flush-log-at-trx-commit=0", *tls]


class Xmpp(Plain):
    before_tls, program, user = "xmpp", "prosody", "prosody"

    def write(self):
        (self.place / "data").mkdir(exist_ok=True)
        for path in (self.place, self.place / "data", self.key):
            shutil.chown(path, self.user)
        (self.place / "prosody.cfg.lua").write_text(f"""
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ }}
modules_enabled = {{ "saslauth"{', "tls"' if self.tls else ''} }}
modules_disabled = {{ "s2s"{'' if self.tls else ', "tls"'} }}
c2s_require_encryption = false
data_path = "{self.place}/data"
pidfile = "{self.pid_file}"
log = {{ info = "*console" }}
ssl = {{ certificate = "{self.cert}", key = "{self.key}" }}
VirtualHost "{NAME}"
""")

    def popen(self):
        return {"user": "prosody", "group": "prosody", "extra_groups": []}

    def argv(self):
        return ["/usr/bin/prosody", "-F", "--config", str(self.place / "prosody.cfg.lua")]


KINDS = [Smtp, Imap, Pop3, Ftp, Ldap, Postgres, Mysql, Xmpp]


@pytest.fixture
def start():
    """Starts a kind of server, with a certificate and without TLS."""
    place = Path(tempfile.mkdtemp(prefix="everleaf-starttls-"))
    place.chmod(0o755)
    made = []

    def start(kind, tls=True):
        if not (kind.is_installed() if kind is not Pop3 else os.path.exists(kind.program)):
            pytest.skip(f"{os.path.basename(kind.program)} is not installed")
        server = kind(place / f"server{len(made)}")
        made.append(server)
        server.tls = tls
        server.out.mkdir()
        key = pki.new_key()
        server.issued = pki.Authority("STARTTLS Root").leaf(key.public_key(), [NAME])
        server.cert.write_text(pki.pem(server.issued))
        server.key.write_text(pki.key_pem(key))
        group = pwd.getpwnam(kind.user).pw_gid if kind.user else 0
        os.chown(server.key, 0, group)
        server.key.chmod(0o640 if kind.user else 0o600)
        return server.start()

    yield start
    for server in made:
        server.stop()
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.before_tls)
def test_what_is_served(kind, start, make_everleaf):
    server = start(kind)
    inspected = make_everleaf().run("inspect", "--json", f"127.0.0.1:{server.port}", "--sni", NAME,
                                    "--starttls", kind.before_tls, config=False, expect=0)
    assert inspected.json["leaf"]["sha256"] == pki.sha256(server.issued)
    assert inspected.json["tls"]["version"] in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.before_tls)
def test_a_server_without_tls(kind, start, make_everleaf):
    server = start(kind, tls=False)
    result = make_everleaf().run("inspect", f"127.0.0.1:{server.port}", "--sni", NAME,
                                 "--starttls", kind.before_tls, config=False, expect=4)
    assert f": {kind.before_tls}: the server " in result.stderr, result.stderr
    assert any(word in result.stderr for word in ("refuses", "does not offer")), result.stderr


def test_bad_usage(make_everleaf):
    everleaf = make_everleaf()
    result = everleaf.run("inspect", "127.0.0.1:25", "--starttls", "smtps", config=False, expect=2)
    assert 'did you mean "smtp"?' in result.stderr and "postgres" in result.stderr
    result = everleaf.run("inspect", "/etc/hostname", "--starttls", "smtp", config=False, expect=2)
    assert "--starttls is for endpoints" in result.stderr
    assert "--starttls" in everleaf.run("completion", "bash", config=False).stdout
