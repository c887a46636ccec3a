"""The life of the package on one machine, in the order of a life: installed, configured, disturbed,
used by the timer, without capabilities, upgraded, purged. Each test goes on where the one before ended."""

import json

import pytest
from machine import wait_for

CAP_NET_BIND_SERVICE = 1 << 10
DROP_INS = "/usr/share/everleaf/everleaf.service.d"
CONFIG = "/etc/everleaf/everleaf.yaml"

ISSUER = """
issuers:
  test:
    directory: https://127.0.0.1:14000/dir
    ca_file: /etc/everleaf/pebble-ca.pem
    terms_agreed: true
"""
WWW = ISSUER + """
certificates:
  www: {names: [www.example.org], servers: [nginx]}
"""


@pytest.fixture(autouse=True)
def stop_at_the_first_failure(request):
    if request.session.testsfailed:
        pytest.skip("an earlier step failed")


def configure(machine, text):
    machine.write(CONFIG, text)
    machine.run("everleaf", "check")


def renew(machine, *arguments):
    """A forced renewal that must be proven; gives its line of the document."""
    result = machine.run("everleaf", "renew", "www", "--force", "--json", *arguments)
    only, = result.json["results"]
    assert only["result"] == "renewed" and only["proven"], result
    return only, result.json["by"]


# Installed ------------------------------------------------------------------------------------------


def test_the_package_starts_the_service_and_nothing_else(machine):
    machine.run("sh", "-c", "dpkg -i /debs/everleaf_[0-9]*_*.deb")
    assert machine.run("systemctl", "is-active", "everleaf").out.strip() == "active"
    assert machine.run("systemctl", "is-enabled", "everleaf").out.strip() == "enabled"
    for unit in ("everleaf-renew.timer", "everleaf-http.socket"):
        assert machine.run("systemctl", "is-active", unit, check=False).out.strip() == "inactive"
        assert machine.run("systemctl", "is-enabled", unit, check=False).out.strip() == "disabled"
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").out == ""


def test_systemd_was_told_that_it_is_ready(machine):
    assert machine.show("everleaf.service", "Type") == "notify"
    assert machine.show("everleaf.service", "StatusText") == "no certificates are configured"
    said = machine.journal()
    assert said.index("listening") < said.index("Started ")  # not as soon as the process was there


def test_it_has_the_rights_that_were_promised(machine):
    pid = machine.main_pid()
    assert machine.run("ps", "-o", "user=", "-p", pid).out.strip() == "everleaf"
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(machine.process_status(pid, name), 16) == CAP_NET_BIND_SERVICE
    assert machine.process_status(pid, "NoNewPrivs") == "1"
    assert machine.process_status(pid, "Seccomp") == "2"
    assert "0" == machine.run("sh", "-c", f"awk '/core file/ {{ print $5 }}' /proc/{pid}/limits").out.strip()
    assert machine.run("stat", "-c", "%a %U %G", "/var/lib/everleaf").out.strip() == "750 everleaf everleaf"
    assert machine.run("stat", "-c", "%U %G %F", "/run/everleaf/control.sock").out.strip() == \
        "everleaf everleaf socket"


def test_the_listener_answers(machine):
    assert machine.run("curl", "-sS", "http://127.0.0.1:9402/healthz").out
    machine.run("everleaf", "status")


# Configured -----------------------------------------------------------------------------------------


def test_a_good_file_is_loaded_by_systemctl_reload(machine):
    pid = machine.main_pid()
    configure(machine, WWW)
    machine.run("systemctl", "reload", "everleaf")
    wait_for(lambda: machine.status("www")["generation"], what="the first certificate, by port 80")
    assert machine.main_pid() == pid
    assert machine.status("www")["state"] in ("deployed", "idle")  # nginx does not run yet


def test_a_server_that_comes_up_is_proven(machine):
    machine.run("systemctl", "start", "nginx")
    only, by = renew(machine)
    assert by == "agent"
    assert machine.served()[0] == only["new"]["sha256"]


def test_a_renewal_reloads_nginx_over_the_bus(machine):
    pid, before = machine.main_pid("nginx.service"), machine.served()[0]
    assert machine.run("ps", "-o", "user=", "-p", pid).out.strip() == "root"
    reloads = machine.journal("nginx.service").count("Reloaded ")
    only, by = renew(machine)
    assert by == "agent" and only["old"]["sha256"] == before
    assert machine.served()[0] == only["new"]["sha256"] != before
    assert machine.main_pid("nginx.service") == pid
    # By a job of systemd, which logs it; a signal of everleaf's could not reach a process of root.
    wait_for(lambda: machine.journal("nginx.service").count("Reloaded ") == reloads + 1,
             what="the reload in nginx.service's journal")


@pytest.mark.parametrize("verb,unit,allowed", [
    ("reload", "nginx.service", True), ("try-restart", "nginx.service", True),
    ("restart", "nginx.service", False), ("stop", "nginx.service", False),
    ("start", "nginx.service", False), ("reload", "dbus.service", False),
    ("try-restart", "pebble.service", False), ("daemon-reload", None, False)])
def test_polkit_allows_just_that(machine, verb, unit, allowed):
    argv = ["systemctl", "--no-ask-password", verb] + ([unit] if unit else [])
    result = machine.run(*argv, user="everleaf", check=False)
    assert (result.code == 0) == allowed, result
    if allowed:  # and nobody else
        assert machine.run(*argv, user="www-data", check=False).code != 0


def test_a_bad_file_makes_the_reload_fail_and_changes_nothing(machine):
    pid = machine.main_pid()
    machine.write(CONFIG, WWW.replace("names", "nmaes"))
    result = machine.run("systemctl", "reload", "everleaf", check=False)
    assert result.code != 0
    assert 'did you mean "names"' in machine.journal()
    assert machine.main_pid() == pid and machine.show("everleaf.service", "ActiveState") == "active"
    assert machine.metric("everleaf_config_reload_success") == 1  # the agent was not even asked
    assert machine.status("www")["exit"] == 0


def test_a_signal_with_a_bad_file_is_told_everywhere(machine):
    machine.run("systemctl", "kill", "-s", "HUP", "--kill-who=main", "everleaf")
    wait_for(lambda: machine.metric("everleaf_config_reload_success") == 0, what="the metric")
    assert "the configuration has errors" in machine.show("everleaf.service", "StatusText")
    configure(machine, WWW)
    machine.run("systemctl", "reload", "everleaf")
    wait_for(lambda: machine.metric("everleaf_config_reload_success") == 1, what="the metric")
    assert "errors" not in machine.show("everleaf.service", "StatusText")


def test_the_journal_has_native_fields(machine):
    lines = machine.run("journalctl", "EVERLEAF_CERTIFICATE=www", "-o", "json", "--no-pager").out.splitlines()
    entries = [json.loads(line) for line in lines]
    assert entries
    for entry in entries:
        assert entry["_SYSTEMD_UNIT"] == "everleaf.service" and entry["_TRANSPORT"] == "journal"
        assert entry["SYSLOG_IDENTIFIER"] == "everleaf" and entry["PRIORITY"] in "3456"
    renewed = [e for e in entries if "EVERLEAF_ATTEMPT" in e]
    assert renewed, entries
    # One attempt ties lines together, in both directions.
    attempt = renewed[-1]["EVERLEAF_ATTEMPT"]
    assert machine.run("journalctl", f"EVERLEAF_ATTEMPT={attempt}", "-o", "cat", "--no-pager").out
    assert machine.run("journalctl", "EVERLEAF_SERVER=nginx", "-o", "cat", "--no-pager").out


# Disturbed ------------------------------------------------------------------------------------------


def test_the_watchdog_ends_an_agent_that_hangs_and_it_comes_back(machine):
    machine.drop_in("everleaf.service", "watchdog", "[Service]\nWatchdogSec=2s\nRestartSec=1s\n")
    machine.run("systemctl", "restart", "everleaf")
    pid = machine.main_pid()
    restarts = int(machine.show("everleaf.service", "NRestarts"))
    machine.run("sleep", "5")
    assert machine.main_pid() == pid, "it feeds the watchdog"
    machine.run("kill", "-STOP", pid)
    wait_for(lambda: int(machine.show("everleaf.service", "NRestarts")) == restarts + 1, what="a restart")
    wait_for(lambda: machine.show("everleaf.service", "ActiveState") == "active", what="the agent")
    assert machine.main_pid() != pid
    said = machine.journal()
    assert "Watchdog timeout" in said and "status=6/ABRT" in said and "dumped core" not in said
    assert machine.status("www")["exit"] == 0
    machine.drop_in("everleaf.service", "watchdog", "")


def test_a_killed_agent_comes_back(machine):
    machine.drop_in("everleaf.service", "restart", "[Service]\nRestartSec=200ms\n")
    for _ in range(8):  # more than systemd's usual limit for a crash loop
        pid = machine.main_pid()
        machine.run("kill", "-KILL", pid)
        wait_for(lambda: machine.main_pid() not in (0, pid)  # noqa: B023
                 and machine.show("everleaf.service", "ActiveState") == "active", what="the agent")
    machine.drop_in("everleaf.service", "restart", "")
    renew(machine)


def test_a_credential_is_read(machine):
    from conftest import MAC
    machine.write("/etc/everleaf/eab.hmac", MAC, mode=0o600)
    bound = WWW.replace("certificates:", """
  bound:
    directory: https://localhost:14000/dir
    ca_file: /etc/everleaf/pebble-ca.pem
    terms_agreed: true
    eab: {kid: kid-1, hmac: {credential: eab}}
certificates:
  bound: {names: [bound.example.org], issuer: bound}
""").replace("servers: [nginx]", "servers: [nginx], issuer: test")
    machine.write(CONFIG, bound)
    assert machine.run("cat", "/etc/everleaf/eab.hmac", user="everleaf", check=False).code != 0
    machine.drop_in("everleaf.service", "secret", "[Service]\nLoadCredential=eab:/etc/everleaf/eab.hmac\n")
    machine.run("systemctl", "restart", "everleaf")
    wait_for(lambda: machine.status("bound")["generation"], what="a certificate of the bound account")
    #    machine.run("systemctl", "reload", "everleaf")  # `everleaf check` of ExecReload has it, too


def test_a_group_gets_its_files_without_any_capability(machine):
    machine.run("install", "-d", "-o", "everleaf", "/srv/tls")
    machine.drop_in("everleaf.service", "secret", "")
    machine.drop_in("everleaf.service", "outputs",
                    "[Service]\nReadWritePaths=/srv/tls\nSupplementaryGroups=www-data\n")
    configure(machine, WWW.replace("servers:", """outputs:
      [{type: files, dir: /srv/tls/www, group: www-data, key_mode: "0640"}], servers:"""))
    machine.run("systemctl", "restart", "everleaf")
    renew(machine)
    assert machine.run("stat", "-L", "-c", "%a %U %G", "/srv/tls/www/privkey.pem").out.strip() == \
        "640 everleaf www-data"
    machine.run("cat", "/srv/tls/www/privkey.pem", user="www-data")


def test_an_owner_needs_the_drop_in(machine):
    machine.run("install", "-d", "-o", "everleaf", "-g", "www-data", "/srv/app")
    machine.drop_in("everleaf.service", "outputs", "[Service]\nReadWritePaths=/srv/app\n")
    machine.write(CONFIG, WWW.replace("servers:", """outputs:
      [{type: files, dir: /srv/app/www, owner: www-data, group: www-data, mode: "0440", key_mode: "0400"}],
    servers:"""))
    machine.run("systemctl", "restart", "everleaf", check=False)
    assert "owner" in machine.journal()  # never silently ignored
    machine.run("cp", f"{DROP_INS}/owner.conf", "/etc/systemd/system/everleaf.service.d/")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "everleaf")
    renew(machine)
    assert machine.run("stat", "-L", "-c", "%a %U %G", "/srv/app/www/privkey.pem").out.strip() == \
        "400 www-data www-data"
    machine.run("rm", "/etc/systemd/system/everleaf.service.d/owner.conf")
    machine.drop_in("everleaf.service", "outputs", "")
    configure(machine, WWW)
    machine.run("systemctl", "restart", "everleaf")


# Where nginx has port 80 ----------------------------------------------------------------------------


def reload_nginx(machine, done):
    """Its reload only begins when `systemctl` comes back."""
    machine.run("systemctl", "reload", "nginx")
    wait_for(done, what="nginx with its new configuration")


def nginx_with_port_80(machine, location):
    file = machine.root / "etc/nginx/nginx.conf"
    own = file.read_text()
    file.write_text(own.replace("http {", "http {\n server { listen 80; server_name www.example.org; "
                                + location + " }", 1))
    machine.run("nginx", "-t")
    reload_nginx(machine, lambda: answer_of_port_80(machine) != "000")

    def restore():
        file.write_text(own)
        reload_nginx(machine, lambda: answer_of_port_80(machine) == "000")

    return restore


def test_nginx_forwards_the_challenge(machine):
    restore = nginx_with_port_80(machine, "include /usr/share/doc/everleaf/examples/forward/nginx.conf;")
    configure(machine, WWW + 'challenges:\n  web: {type: http-01, listen: "127.0.0.1:9480"}\n')
    machine.run("systemctl", "reload", "everleaf")
    renew(machine)
    restore()


def test_a_busy_port_80_is_told_with_the_ways_out(machine):
    restore = nginx_with_port_80(machine, "root /var/www/html;")
    configure(machine, WWW)
    machine.run("systemctl", "reload", "everleaf")
    assert machine.run("everleaf", "renew", "www", "--force", check=False).code == 1
    error = machine.status("www")["error"]
    assert "80" in error["text"] and "webroot" in error["hint"], error
    restore()


def test_a_webroot_outside_the_sandbox_is_opened_by_a_drop_in(machine):
    folder = "/var/www/html/.well-known/acme-challenge"
    restore = nginx_with_port_80(machine, "root /var/www/html;")
    machine.run("install", "-d", "-o", "everleaf", folder)
    machine.drop_in("everleaf.service", "webroot", f"[Service]\nReadWritePaths={folder}\n")
    configure(machine, WWW + "challenges:\n  root: {type: http-01, webroot: /var/www/html}\n")
    machine.run("systemctl", "restart", "everleaf")
    renew(machine)
    assert machine.run("ls", folder).out == ""
    machine.drop_in("everleaf.service", "webroot", "")
    restore()
    configure(machine, WWW)
    machine.run("systemctl", "restart", "everleaf")


# The timer ------------------------------------------------------------------------------------------


def test_the_timers_unit_beside_the_agent_asks_it_and_leaves_its_socket(machine):
    machine.run("systemctl", "start", "everleaf-renew.service")
    assert machine.show("everleaf-renew.service", "Result") == "success"
    machine.run("test", "-S", "/run/everleaf/control.sock")
    assert machine.run("everleaf", "status", "--json").json["agent"]["running"]


def test_the_timer_renews_without_a_daemon(machine):
    machine.run("systemctl", "disable", "--now", "everleaf.service")
    before, names = machine.served()
    assert "DNS:example.org" not in names
    configure(machine, WWW.replace("[www.example.org]", "[www.example.org, example.org]"))  # due at once
    # Sooner than in an hour, and again and again.
    machine.drop_in("everleaf-renew.timer", "soon", "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\n"
                    "RandomizedDelaySec=0\nAccuracySec=100ms\n")
    machine.run("systemctl", "enable", "--now", "everleaf-renew.timer")
    wait_for(lambda: "DNS:example.org" in machine.served()[1], what="the new name on nginx")
    assert machine.served()[0] != before
    wait_for(lambda: machine.show("everleaf-renew.service", "ActiveState") == "inactive", what="the end")
    assert machine.show("everleaf-renew.service", "Result") == "success"
    assert machine.run("sh", "-c", "find /var/lib/everleaf ! -user everleaf").out == ""
    assert "everleaf-renew.timer" in machine.run("systemctl", "list-timers").out
    machine.run("test", "-e", "/var/lib/systemd/timers/stamp-everleaf-renew.timer")  # Persistent=
    machine.run("systemctl", "disable", "--now", "everleaf-renew.timer")
    machine.drop_in("everleaf-renew.timer", "soon", "")


def test_root_without_an_agent_acts_as_the_owner_of_the_state(machine):
    only, by = renew(machine)
    assert by == "self" and machine.served()[0] == only["new"]["sha256"]
    assert machine.run("sh", "-c", "find /var/lib/everleaf ! -user everleaf").out == ""
    machine.run("systemctl", "enable", "--now", "everleaf.service")


# Without capabilities -------------------------------------------------------------------------------


def link_drop_in(machine, name):
    machine.run("mkdir", "-p", "/etc/systemd/system/everleaf.service.d")
    machine.run("ln", "-s", f"{DROP_INS}/{name}", "/etc/systemd/system/everleaf.service.d/")
    machine.run("systemctl", "daemon-reload")


def answer_of_port_80(machine):
    return machine.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                       "http://127.0.0.1/.well-known/acme-challenge/none", check=False).out


def test_port_80_comes_by_socket_activation(machine):
    assert answer_of_port_80(machine) == "000"  # open only while a challenge is pending
    link_drop_in(machine, "no-capability.conf")
    machine.run("systemctl", "stop", "everleaf")
    machine.run("systemctl", "enable", "--now", "everleaf-http.socket")
    machine.run("systemctl", "start", "everleaf")
    pid = machine.main_pid()
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(machine.process_status(pid, name), 16) == 0
    assert answer_of_port_80(machine) == "404"
    renew(machine)
    assert answer_of_port_80(machine) == "404"


def test_a_connection_starts_the_agent(machine):
    machine.run("systemctl", "stop", "everleaf.service")
    assert answer_of_port_80(machine) == "404"
    assert machine.show("everleaf.service", "ActiveState") == "active"


def test_a_user_namespace_of_its_own(machine):
    link_drop_in(machine, "private-users.conf")
    machine.run("systemctl", "restart", "everleaf")
    spaces = [machine.run("readlink", f"/proc/{pid}/ns/user").out for pid in (1, machine.main_pid())]
    assert spaces[0] != spaces[1]
    renew(machine)
    machine.run("everleaf", "status")  # of root, whom the agent cannot tell from nobody... but by its socket


def test_systemd_finds_nothing_wrong(machine):
    for unit, maximum in (("everleaf.service", 1.2), ("everleaf-renew.service", 1.6)):
        text = machine.run("systemctl", "show", "-P", "ActiveState", unit).out
        assert text
        exposure = machine.run("systemd-analyze", "security", "--no-pager", unit, check=False).out
        score = float(exposure.rsplit("exposure level for", 1)[1].split(":")[1].split()[0])
        assert score <= maximum, exposure
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").out == ""


# Upgraded, purged -----------------------------------------------------------------------------------


def test_an_upgrade_restarts_the_agent_and_keeps_the_rest(machine):
    pid, before = machine.main_pid(), machine.served()[0]
    machine.run("sh", "-c", "cd /tmp && dpkg-deb -R /debs/everleaf_[0-9]*_*.deb next && "
                "sed -i 's/^Version: .*/&+1/' next/DEBIAN/control && dpkg-deb -b next next.deb && "
                "dpkg -i --force-confold next.deb")
    assert machine.main_pid() not in (0, pid)
    assert machine.run("systemctl", "is-active", "everleaf-http.socket").out.strip() == "active"
    assert machine.status("www")["exit"] == 0 and machine.served()[0] == before
    renew(machine)


def test_purge_leaves_nothing_that_runs_or_renews(machine):
    pid = machine.main_pid()
    machine.run("dpkg", "--purge", "everleaf")
    assert machine.run("test", "-d", f"/proc/{pid}", check=False).code != 0
    assert answer_of_port_80(machine) == "000"
    for path in ("/var/lib/everleaf", "/run/everleaf", "/usr/bin/everleaf"):
        assert machine.run("test", "-e", path, check=False).code != 0
    assert machine.run("getent", "passwd", "everleaf", check=False).code != 0
    machine.run("systemctl", "daemon-reload")
    assert "everleaf" not in machine.run("systemctl", "--failed", "--plain", "--no-legend").out
