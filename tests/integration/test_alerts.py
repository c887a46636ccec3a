"""Alerts straight from the agent: to a webhook, to a command, and when nobody is there."""

import http.server
import json
import threading

import pytest

from fake.ca import problem
from support import PORTS, wait_for


class Webhook:
    """Keeps what it gets; answers with `status`."""

    def __init__(self):
        self.got, self.status = [], 200
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.got.append((dict(self.headers), json.loads(body)))
                self.send_response(webhook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhook():
    webhook = Webhook()
    yield webhook
    webhook.close()


def secret(tmp_path, text):
    file = tmp_path / "secret"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return {"file": str(file)}


def test_a_webhook_hears_of_a_failure_and_of_its_end(everleaf, ca, webhook, tmp_path):
    ca.fault("new-order", problem("rejectedIdentifier", 403, detail='no "<b>\x1b'), times=1)
    everleaf.config["agent"]["alerts"] = {"url": webhook.url, "bearer": secret(tmp_path, "t0ken")}
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: webhook.got)
    headers, message = webhook.got[0]
    assert headers["Authorization"] == "Bearer t0ken" and headers["Content-Type"] == "application/json"
    (alert,) = message["alerts"]
    assert message["version"] == "4" and message["status"] == alert["status"] == "firing"
    assert alert["labels"]["alertname"] == "EverleafRenewalFailing"
    assert alert["labels"]["certificate"] == "www"
    assert "no \"<b>\\x1b" in alert["annotations"]["cause"] and alert["annotations"]["runbook"]
    assert "\x1b" not in message["text"]
    everleaf.renew("www")
    agent.wait_for(lambda: len(webhook.got) == 2)
    message = webhook.got[1][1]
    assert message["status"] == message["alerts"][0]["status"] == "resolved"
    assert message["alerts"][0]["labels"] == alert["labels"]
    assert message["alerts"][0]["endsAt"] >= alert["startsAt"]
    assert "s3cret" not in agent.log and "t0ken" not in agent.log


def test_a_command_gets_json_and_text(everleaf, ca, tmp_path):
    out = tmp_path / "heard"
    script = tmp_path / "tell"
    script.write_text(f'#!/bin/sh\n{{ cat; echo; echo "$EVERLEAF_ALERT_STATUS"; echo "$EVERLEAF_ALERT_TEXT"; }} '
                      f'>{out}.new && mv {out}.new {out}\n')
    script.chmod(0o755)
    ca.fault("new-order", problem("rejectedIdentifier", 403), times=1)
    everleaf.config["agent"]["alerts"] = {"command": [str(script)]}
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(out.exists)
    first, status, *text = out.read_text().splitlines()
    assert json.loads(first)["alerts"][0]["labels"]["certificate"] == "www"
    assert status == "firing" and text[0].startswith("ALERT: Certificate www: 1 failure in a row")
    everleaf.renew("www")
    agent.wait_for(lambda: "resolved" in out.read_text())


@pytest.mark.parametrize("kind", ["silent", "refusing", "failing command", "missing command"])
def test_a_receiver_that_does_not_take_them_holds_up_nothing(everleaf, ca, webhook, kind):
    webhook.status = 500
    everleaf.config["agent"]["alerts"] = {
        "silent": {"url": f"http://127.0.0.1:{PORTS.get()}/s3cret"}, "refusing": {"url": webhook.url},
        "failing command": {"command": ["/bin/false"]}, "missing command": {"command": ["/dev/null/tell"]}}[kind]
    ca.fault("new-order", problem("rejectedIdentifier", 403), times=1)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: "alert not delivered" in agent.log)
    assert "s3cret" not in agent.log
    everleaf.renew("www")
    assert everleaf.one_status()["failures"] == 0
    assert agent.log.count("alert not delivered") == 1


@pytest.mark.parametrize("alerts, complaint", [
    ({"url": "https://a.example/", "command": ["/bin/true"]}, 'either "url" or "command"'),
    ({"repeat": "1h"}, 'either "url" or "command"'),
    ({"url": "ftp://a.example/"}, "https://"),
    ({"command": ["/bin/true"], "bearer": {"env": "PATH"}}, "is for"),
    ({"url": "https://a.example/", "repaet": "1h"}, "repeat")])
def test_mistakes_are_told(everleaf, ca, alerts, complaint):
    everleaf.config["agent"]["alerts"] = alerts
    everleaf.certificate("www")
    everleaf.write()
    result = everleaf.run("check", expect=2)
    assert complaint in result.stdout + result.stderr


def test_a_reload_changes_the_receiver(everleaf, ca, webhook):
    ca.fault("new-order", problem("rejectedIdentifier", 403), times=None)
    everleaf.certificate("www")
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    assert not webhook.got
    everleaf.config["agent"]["alerts"] = {"url": webhook.url}
    everleaf.write()
    agent.hangup()
    wait_for(lambda: webhook.got, what="an alert after the reload")
