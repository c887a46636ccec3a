"""The programs of Debian that have a server type: how to start each on loopback with TLS, how to tell that
it is well, how to break its configuration, and how to make it refuse a new certificate.

`own_key` lets a server read a copy of the key it has now instead of the one next to the certificate: its
next certificate will not match, whatever we do. That is the bad pair that a server meets although the
files we wrote belong together.
"""

import http.server
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading

from support import PORTS, is_listening, stop_process, wait_for

from fake import pki

NAME = "www.example.org"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def receive(connection, size):
    data = b""
    while len(data) < size and (chunk := connection.recv(size - len(data))):
        data += chunk
    return data


def reply_of_lines(connection):
    """The last line of an SMTP reply."""
    line = b""
    while not line.endswith(b"\n") or line[3:4] == b"-":
        if line.endswith(b"\n"):
            line = b""
        if not (chunk := connection.recv(1)):
            raise ConnectionError("end of file")
        line += chunk
    return line


class Server:
    type = None  # ours
    title = None  # in the table, when it is not the type
    program = None
    refuses = True  # a pair that does not match stops it from loading; the old one stays
    checks = True  # has a check of its own
    checks_pairs = False  # which sees a pair that does not match
    before_tls = "off"  # what is spoken until then, our `starttls`
    loses = False  # now and then a connection, whenever it reloads
    patience = 30  # seconds for its start
    user = None  # that must be able to read the key

    def __init__(self, place):
        self.place = place
        self.place.mkdir(parents=True, exist_ok=True)
        self.place.chmod(0o755)
        self.out = place / "out"
        self.pem = place / "www.pem"  # key, certificate, chain
        self.pid_file = place / "server.pid"
        self.log = place / "server.log"
        self.port = PORTS.get()
        self.key = self.out / "privkey.pem"
        self.broken = False
        self.process = None

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program, path=PATH) is not None

    @property
    def cert(self):
        return self.out / "fullchain.pem"

    def outputs(self):
        owner = {"group": self.user, "key_mode": "0640"} if self.user else {}
        return [{"type": "files", "dir": str(self.out), **owner},
                {"type": "combined", "path": str(self.pem)}]

    def own_key(self):
        copy = self.place / "copy.key"
        shutil.copy(self.out / "privkey.pem", copy)
        if self.user:
            shutil.chown(copy, group=self.user)
            copy.chmod(0o640)
        self.key = copy

    # What differs

    def write(self):
        raise NotImplementedError

    def argv(self):
        raise NotImplementedError

    def settings(self):
        raise NotImplementedError

    def environment(self):
        return {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(self.place)}

    # Life

    def start(self):
        self.write()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                start_new_session=True, cwd=self.place, **self.popen())
        wait_for(self.is_up, self.patience, self.program)
        return self

    def popen(self):
        return {}

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        try:
            return self.leaf() is not None
        except OSError:
            return False

    def stop(self):
        if self.process:
            stop_process(self.process)
            try:
                os.killpg(self.process.pid, signal.SIGKILL)  # what it left behind
            except ProcessLookupError:
                pass
            self.process = None

    def endpoint(self, **more):
        return {"connect": f"127.0.0.1:{self.port}", "starttls": self.before_tls, **more}

    def everleaf(self, **more):
        """The server section."""
        settings = {"type": self.type, **self.settings()}
        settings["prove"] = [self.endpoint(deadline="10s")]
        settings.update(more)
        return settings

    # A client

    def starttls(self, connection):
        pass

    def speak(self, tls):
        """True when the server did what its clients want of it."""
        request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()
        tls.sendall(request)
        reply = b""
        while chunk := tls.recv(4096):
            reply += chunk
        return reply.startswith(b"HTTP/1.1 200") and b"hello" in reply

    def connect(self, context=None, timeout=5):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        try:
            self.starttls(connection)
            return (context or tls_context()).wrap_socket(connection, server_hostname=NAME)
        except BaseException:
            connection.close()
            raise

    def leaf(self):
        """SHA-256 of what it shows."""
        with self.connect() as tls:
            return pki.sha256_of(tls.getpeercert(binary_form=True))

    def is_well(self):
        try:
            with self.connect() as tls:
                return self.speak(tls)
        except OSError:
            return False


class Load:
    """Clients in a loop; each connection is one request."""

    def __init__(self, server, threads=2):
        self.server = server
        self.done, self.failures, self.leaves = 0, [], []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.done > 5 or self.failures, what="first requests")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _loop(self):
        context = tls_context()
        while not self._stop.is_set():
            leaf = None
            try:
                with self.server.connect(context) as tls:
                    leaf = pki.sha256_of(tls.getpeercert(binary_form=True))
                    problem = None if self.server.speak(tls) else "not the answer"
            except OSError as e:
                problem = repr(e)
            with self._lock:
                self.done += 1
                if problem:
                    self.failures.append(problem)
                elif leaf not in self.leaves:
                    self.leaves.append(leaf)


# Web servers ------------------------------------------------------------------------------------------


class Nginx(Server):
    type = program = "nginx"
    checks_pairs = True

    def write(self):
        temp = "\n".join(f"    {kind}_temp_path {self.place}/temp;" for kind in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.place / "nginx.conf").write_text(f"""
user root; pid {self.pid_file}; error_log {self.log} notice; worker_processes 1; daemon off;
events {{ worker_connections 256; }}
http {{
    access_log off;
{temp}
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {self.cert};
        ssl_certificate_key {self.key};
        {"this is no directive;" if self.broken else ""}
        location / {{ return 200 "hello\\n"; }}
    }}
}}
""")

    def argv(self):
        return ["/usr/sbin/nginx", "-c", str(self.place / "nginx.conf"), "-e", str(self.log)]

    def settings(self):
        return {"config": str(self.place / "nginx.conf"), "pid_file": str(self.pid_file), "reload": "signal"}


class Apache(Server):
    type, program = "apache", "apache2"
    checks_pairs = True

    def write(self):
        (self.place / "htdocs").mkdir(exist_ok=True)
        (self.place / "htdocs/index.html").write_text("hello\n")
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in
                            ("mpm_event", "authz_core", "dir", "ssl"))
        (self.place / "apache.conf").write_text(f"""
{modules}
ServerRoot {self.place}
ServerName {NAME}
PidFile {self.pid_file}
ErrorLog {self.log}
DefaultRuntimeDir {self.place}
Mutex file:{self.place} default
StartServers 1
Listen 127.0.0.1:{self.port}
DocumentRoot {self.place}/htdocs
<Directory {self.place}/htdocs>
    Require all granted
</Directory>
IncludeOptional sites/*.conf
{"NoSuchDirective on" if self.broken else ""}
""")
        (self.place / "sites").mkdir(exist_ok=True)
        (self.place / "sites/www.conf").write_text(f"""
<VirtualHost *:{self.port}>
    ServerName {NAME}
    DocumentRoot {self.place}/htdocs
    SSLEngine on
    SSLCertificateFile {self.cert}
    SSLCertificateKeyFile "{self.key}"
</VirtualHost>
""")

    def argv(self):
        return ["/usr/sbin/apache2", "-f", str(self.place / "apache.conf"), "-DFOREGROUND"]

    def settings(self):
        return {"binary": "/usr/sbin/apache2", "config": str(self.place / "apache.conf"),
                "pid_file": str(self.pid_file), "reload": "signal"}


class Lighttpd(Server):
    type = program = "lighttpd"
    checks_pairs = True

    def write(self):
        (self.place / "htdocs").mkdir(exist_ok=True)
        (self.place / "htdocs/index.html").write_text("hello\n")
        (self.place / "lighttpd.conf").write_text(f"""
server.modules = ("mod_openssl")
server.document-root = "{self.place}/htdocs"
server.bind = "127.0.0.1"
server.port = {self.port}
server.pid-file = "{self.pid_file}"
server.errorlog = "{self.log}"
index-file.names = ("index.html")
ssl.engine = "enable"
ssl.pemfile = "{self.cert}"
ssl.privkey = "{self.key}"
{"no such thing" if self.broken else ""}
""")

    def argv(self):
        return ["/usr/sbin/lighttpd", "-D", "-f", str(self.place / "lighttpd.conf")]

    def settings(self):
        return {"config": str(self.place / "lighttpd.conf"), "pid_file": str(self.pid_file),
                "reload": "signal"}


class Caddy(Server):
    type = program = "caddy"
    checks_pairs = True

    def __init__(self, place):
        super().__init__(place)
        self.admin = f"127.0.0.1:{PORTS.get()}"

    def write(self):
        (self.place / "Caddyfile").write_text(f"""
{{
    admin {self.admin}
    auto_https off
    storage file_system {self.place}/storage
}}
https://{NAME}:{self.port} {{
    bind 127.0.0.1
    tls {self.cert} {self.key}
    {"nonsense" if self.broken else ""}
    respond "hello"
}}
""")

    def argv(self):
        return ["/usr/bin/caddy", "run", "--config", str(self.place / "Caddyfile")]

    def settings(self):
        return {"admin": self.admin, "config": str(self.place / "Caddyfile")}


class CaddyUnix(Caddy):
    title = "caddy (admin by UNIX socket)"

    def __init__(self, place):
        super().__init__(place)
        self.admin = f"unix/{place}/admin.sock"

    def settings(self):
        return {**super().settings(), "admin": f"unix:{self.place}/admin.sock"}


class H2o(Server):
    type = program = "h2o"
    checks_pairs = True

    def write(self):
        (self.place / "htdocs").mkdir(exist_ok=True)
        (self.place / "htdocs/index.html").write_text("hello\n")
        (self.place / "h2o.conf").write_text(f"""
pid-file: {self.pid_file}
error-log: {self.log}
user: root
num-threads: 1
{"no-such-directive: 1" if self.broken else ""}
hosts:
  "{NAME}:{self.port}":
    listen:
      host: 127.0.0.1
      port: {self.port}
      ssl:
        certificate-file: {self.cert}
        key-file: {self.key}
        ocsp-update-interval: 0
    paths:
      "/":
        file.dir: {self.place}/htdocs
""")

    def argv(self):
        return ["/usr/bin/h2o", "-m", "master", "-c", str(self.place / "h2o.conf")]

    def settings(self):
        return {"config": str(self.place / "h2o.conf"), "pid_file": str(self.pid_file), "reload": "signal"}


# Proxies ----------------------------------------------------------------------------------------------


class Haproxy(Server):
    type = program = "haproxy"
    title = "haproxy (SIGUSR2 to the master)"
    checks_pairs = True

    def outputs(self):
        return [*super().outputs(),
                {"type": "combined", "path": str(self.place / "pair.pem"), "order": ["cert", "chain"]}]

    def own_key(self):
        shutil.copy(self.out / "privkey.pem", self.place / "pair.pem.key")
        self.key = None

    def write(self):
        pem = self.pem if self.key else self.place / "pair.pem"
        (self.place / "haproxy.cfg").write_text(f"""
global
    stats socket {self.place}/admin.sock mode 600 level admin
    log {self.place}/nowhere local0
    {"nonsense" if self.broken else ""}
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend www
    bind 127.0.0.1:{self.port} ssl crt {pem}
    http-request return status 200 content-type text/plain string hello
""")

    def argv(self):
        return ["/usr/sbin/haproxy", "-W", "-S", f"{self.place}/master.sock", "-p", str(self.pid_file),
                "-f", str(self.place / "haproxy.cfg")]

    def settings(self):
        return {"config": str(self.place / "haproxy.cfg"), "pid_file": str(self.pid_file), "reload": "signal"}


class HaproxyRuntime(Haproxy):
    title = "haproxy (Runtime API)"

    def settings(self):
        return {**super().settings(), "reload": "auto", "socket": f"{self.place}/admin.sock"}


class HaproxyMaster(Haproxy):
    title = "haproxy (master's socket)"

    def settings(self):
        return {**super().settings(), "reload": "auto", "master_socket": f"{self.place}/master.sock"}


class Hitch(Server):
    type = program = "hitch"
    checks_pairs = True
    loses = True  # old workers close their listeners with what waits there, before new ones have theirs

    class Backend(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"hello\n")
            self.close_connection = True

        def log_message(self, *_):
            pass

    def start(self):
        self.backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Backend)
        threading.Thread(target=self.backend.serve_forever, daemon=True).start()
        return super().start()

    def stop(self):
        super().stop()
        if getattr(self, "backend", None):
            self.backend.shutdown()
            self.backend.server_close()
            self.backend = None

    def write(self):
        (self.place / "hitch.conf").write_text(f"""
frontend = {{ host = "127.0.0.1" port = "{self.port}" }}
backend = "[127.0.0.1]:{self.backend.server_address[1]}"
pem-file = {{ cert = "{self.cert}" private-key = "{self.key}" }}
ocsp-dir = ""
workers = 4
daemon = off
user = "_hitch"
{"nonsense = on" if self.broken else ""}
""")

    def argv(self):
        return ["/usr/sbin/hitch", f"--config={self.place}/hitch.conf", f"--pidfile={self.pid_file}"]

    def settings(self):
        return {"config": str(self.place / "hitch.conf"), "pid_file": str(self.pid_file), "reload": "signal"}


# Databases, brokers, mail -----------------------------------------------------------------------------


class Postgresql(Server):
    type, program, user = "postgresql", "psql", "postgres"
    checks = False
    before_tls = "postgres"

    @classmethod
    def folder(cls):
        folders = sorted(os.listdir("/usr/lib/postgresql")) if os.path.isdir("/usr/lib/postgresql") else []
        return f"/usr/lib/postgresql/{folders[-1]}/bin" if folders else ""

    @classmethod
    def is_installed(cls):
        return os.path.exists(f"{cls.folder()}/postgres")

    def popen(self):
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def write(self):
        data = self.place / "data"
        if not data.exists():
            shutil.chown(self.place, "postgres")
            subprocess.run([f"{self.folder()}/initdb", "-D", str(data), "-A", "trust", "--no-sync"],
                           check=True, stdout=subprocess.DEVNULL, user="postgres", group="postgres",
                           cwd=self.place, env=self.environment())
        (data / "postgresql.auto.conf").write_text(f"""
listen_addresses = '127.0.0.1'
port = {self.port}
unix_socket_directories = '{self.place}'
fsync = off
ssl = on
ssl_cert_file = '{self.cert}'
ssl_key_file = '{self.key}'
""")
        shutil.chown(data / "postgresql.auto.conf", "postgres")

    def argv(self):
        return [f"{self.folder()}/postgres", "-D", str(self.place / "data")]

    def settings(self):
        return {"pid_file": str(self.place / "data/postmaster.pid"), "reload": "signal"}

    def starttls(self, connection):
        connection.sendall(bytes.fromhex("0000000804d2162f"))  # SSLRequest
        if receive(connection, 1) != b"S":
            raise ConnectionError("no TLS")

    def speak(self, tls):
        words = b"user\0postgres\0database\0postgres\0\0"
        tls.sendall((8 + len(words)).to_bytes(4, "big") + b"\0\3\0\0" + words)
        return receive(tls, 9) == b"R\0\0\0\x08\0\0\0\0"  # AuthenticationOk


class Redis(Server):
    type, program = "redis", "redis-server"
    checks = False

    def write(self):
        (self.place / "redis.conf").write_text(f"""
port 0
bind 127.0.0.1
tls-port {self.port}
tls-cert-file {self.cert}
tls-key-file {self.key}
tls-auth-clients no
tls-ca-cert-dir /etc/ssl/certs
unixsocket {self.place}/redis.sock
requirepass s3cret
save ""
daemonize no
dir {self.place}
""")
        (self.place / "password").write_text("s3cret\n")
        (self.place / "password").chmod(0o600)

    def argv(self):
        return ["/usr/bin/redis-server", str(self.place / "redis.conf")]

    def settings(self):
        return {"socket": f"{self.place}/redis.sock", "password": {"file": f"{self.place}/password"}}

    def speak(self, tls):
        tls.sendall(b"AUTH s3cret\r\nPING\r\n")
        return receive(tls, 12) == b"+OK\r\n+PONG\r\n"


class Rabbitmq(Server):
    type, program = "rabbitmq", "rabbitmqctl"
    checks = False
    patience = 120
    BIN = "/usr/lib/rabbitmq/bin"

    def __init__(self, place):
        super().__init__(place)
        self.dist, self.epmd_port = PORTS.get(), PORTS.get()
        self.node = f"everleaf{self.port}@localhost"
        self.epmd = None

    def environment(self):
        return {**super().environment(), "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self.epmd_port),
                "RABBITMQ_NODENAME": self.node, "RABBITMQ_DIST_PORT": str(self.dist),
                "RABBITMQ_MNESIA_BASE": f"{self.place}/mnesia", "RABBITMQ_LOG_BASE": f"{self.place}/log",
                "RABBITMQ_CONFIG_FILE": f"{self.place}/rabbitmq.conf", "RABBITMQ_PID_FILE": str(self.pid_file),
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.place}/plugins", "RABBITMQ_NODE_IP_ADDRESS": "",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}"}

    def write(self):
        (self.place / "rabbitmq.conf").write_text(f"""
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{self.port}
ssl_options.cacertfile = {self.out}/chain.pem
ssl_options.certfile = {self.cert}
ssl_options.keyfile = {self.key}
ssl_options.verify = verify_none
""")
        (self.place / "plugins").write_text("[].\n")
        ctl = self.place / "rabbitmqctl"
        environment = " ".join(f"{k}='{v}'" for k, v in self.environment().items())
        ctl.write_text(f"#!/bin/sh\nexec env {environment} {self.BIN}/rabbitmqctl \"$@\"\n")
        ctl.chmod(0o755)

    def start(self):
        self.epmd = subprocess.Popen([shutil.which("epmd"), "-port", str(self.epmd_port)], start_new_session=True,
                                     env=self.environment(), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: is_listening(self.epmd_port), what="epmd")
        super().start()
        # TLS is up before the node is.
        return wait_for(lambda: self.is_well() and self, 60, "rabbitmq")

    def stop(self):
        super().stop()
        if self.epmd:
            stop_process(self.epmd)
            self.epmd = None

    def argv(self):
        return [f"{self.BIN}/rabbitmq-server"]

    def settings(self):
        return {"rabbitmqctl": f"{self.place}/rabbitmqctl", "node": self.node}

    def speak(self, tls):
        tls.sendall(b"AMQP\0\0\x09\x01")
        return receive(tls, 1) == b"\x01"  # a method frame: Connection.Start


class Mosquitto(Server):
    type = program = user = "mosquitto"
    checks = False

    def write(self):
        shutil.chown(self.place, self.user)
        (self.place / "mosquitto.conf").write_text(f"""
listener {self.port} 127.0.0.1
certfile {self.cert}
keyfile {self.key}
allow_anonymous true
pid_file {self.pid_file}
log_dest stderr
user mosquitto
""")

    def argv(self):
        return ["/usr/sbin/mosquitto", "-c", str(self.place / "mosquitto.conf")]

    def settings(self):
        return {"pid_file": str(self.pid_file), "reload": "signal"}

    def speak(self, tls):
        tls.sendall(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0")
        return receive(tls, 4) == b"\x20\x02\0\0"


class Postfix(Server):
    type = program = "postfix"
    refuses = False  # it refuses its clients instead
    before_tls = "smtp"

    # Its throttle: an smtpd that starts while the configuration is broken stops the service for a minute.
    def write(self):
        config, spool = self.place / "etc", self.place / "spool"
        for folder in (config, spool, self.place / "data"):
            folder.mkdir(exist_ok=True)
        shutil.chown(self.place / "data", "postfix")
        (config / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {self.place}/data
multi_instance_name = postfix-{self.port}
myhostname = {NAME}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {self.log}
maillog_file_prefixes = {self.place}
smtpd_tls_chain_files = {self.key}, {self.cert}
smtpd_tls_security_level = may
smtpd_peername_lookup = no
service_throttle_time = 1s
{"no such line" if self.broken else ""}
""")
        (config / "master.cf").write_text(f"""
127.0.0.1:{self.port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
""")

    def argv(self):
        return ["/usr/sbin/postfix", "-c", str(self.place / "etc"), "start-fg"]

    def settings(self):
        return {"config": str(self.place / "etc"), "pid_file": str(self.place / "spool/pid/master.pid"),
                "reload": "signal"}

    def stop(self):
        if self.process:
            subprocess.run(["/usr/sbin/postfix", "-c", str(self.place / "etc"), "stop"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment())
        super().stop()

    def starttls(self, connection):
        for say, word in ((b"", b"220 "), (b"EHLO client\r\n", b"250 "), (b"STARTTLS\r\n", b"220 ")):
            connection.sendall(say)
            if not reply_of_lines(connection).startswith(word):
                raise ConnectionError("no TLS")

    def speak(self, tls):
        tls.sendall(b"EHLO client\r\n")
        return reply_of_lines(tls).startswith(b"250 ")


class Dovecot(Server):
    type, program = "dovecot", "dovecot"
    refuses = False

    def write(self):
        (self.place / "dovecot.conf").write_text(f"""
base_dir = {self.place}/run
state_dir = {self.place}/state
log_path = {self.log}
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{self.cert}
ssl_key = <{self.key}
default_login_user = dovenull
default_internal_user = dovecot
mail_location = maildir:{self.place}/mail
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {self.port}
    ssl = yes
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={self.place}
}}
{"no such line here" if self.broken else ""}
""")

    def argv(self):
        return ["/usr/sbin/dovecot", "-F", "-c", str(self.place / "dovecot.conf")]

    def settings(self):
        return {"config": str(self.place / "dovecot.conf"), "pid_file": str(self.place / "run/master.pid"),
                "reload": "signal"}

    def speak(self, tls):
        return receive(tls, 4) == b"* OK"


class Node(Server):
    type, title, program = "signal", "signal (Node.js, setSecureContext)", "node"
    checks = False

    EXAMPLE = "examples/node/server.js"

    def write(self):
        pass

    def environment(self):
        return {**super().environment(), "PORT": str(self.port), "HOST": "127.0.0.1", "CERT": str(self.cert),
                "KEY": str(self.key), "PID_FILE": str(self.pid_file)}

    def argv(self):
        from support import ROOT
        return [shutil.which("node"), str(ROOT / self.EXAMPLE)]

    def settings(self):
        return {"pid_file": str(self.pid_file), "exe": "node", "signal": "HUP"}


# General kinds, with programs that reload that way ----------------------------------------------------


class ExecNginx(Nginx):
    type, title = "exec", "exec (nginx -s reload)"

    def settings(self):
        command = ["/usr/sbin/nginx", "-c", str(self.place / "nginx.conf"), "-e", "stderr"]
        return {"check": [*command, "-t"], "reload": [*command, "-s", "reload"]}


class UnixSocketHaproxy(Haproxy):
    type, title = "unix-socket", "unix-socket (HAProxy's master)"

    def settings(self):
        return {"path": f"{self.place}/master.sock", "send": "reload\n",
                "check": ["/usr/sbin/haproxy", "-c", "-f", str(self.place / "haproxy.cfg")]}


class HttpCaddy(Caddy):
    type, title = "http", "http (Caddy's /load)"

    def settings(self):
        return {"method": "POST", "url": f"http://{self.admin}/load", "status": 200,
                "headers": {"Content-Type": "text/caddyfile", "Cache-Control": "must-revalidate"},
                "body": {"file": str(self.place / "Caddyfile")},
                "check": ["/usr/bin/caddy", "validate", "--config", str(self.place / "Caddyfile")]}


class SignalNginx(Nginx):
    type, title = "signal", "signal (nginx, by exe and user)"

    def argv(self):
        # A copy of the program is found by its path alone: there may be other nginx processes.
        program = self.place / "own-nginx"
        if not program.exists():
            shutil.copy("/usr/sbin/nginx", program)
        return [str(program), *super().argv()[1:]]

    def settings(self):
        return {"exe": str(self.place / "own-nginx"), "user": "root",
                "check": ["/usr/sbin/nginx", "-t", "-c", str(self.place / "nginx.conf"), "-e", "stderr"]}


SERVERS = [Rabbitmq, Postfix, Nginx, Apache, Lighttpd, Caddy, CaddyUnix, H2o, HaproxyRuntime, Haproxy, HaproxyMaster,
           Hitch, Postgresql, Redis, Mosquitto, Dovecot, Node, ExecNginx, UnixSocketHaproxy, HttpCaddy, SignalNginx]
