"""A renewal as an OpenTelemetry trace, sent to a scripted receiver; the attempt's id ties it to the rest."""

import http.server
import json
import re
import threading
import time

import pytest

from fake.ca import problem
from support import PORTS, wait_for


class Collector:
    """Keeps what is POSTed to it; `status`, or silence (None)."""

    def __init__(self):
        self.got, self.status, self.connections = [], 200, 0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.got.append((self.path, dict(self.headers), json.loads(body)))
                if collector.status is None:
                    time.sleep(30)
                    return
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [span for _, _, document in self.got for resource in document["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


def attributes(span):
    return {a["key"]: a["value"]["stringValue"] for a in span["attributes"]}


def settings(collector, **more):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}


def test_one_id_ties_log_history_hook_and_trace(everleaf, ca, collector, tmp_path):
    seen = tmp_path / "hook"
    script = tmp_path / "reload"
    script.write_text(f'#!/bin/sh\necho "$EVERLEAF_HOOK_ATTEMPT" >>{seen}\n')
    script.chmod(0o755)
    everleaf.server("app", type="exec", reload=[str(script)], prove="off")
    everleaf.certificate("www", servers=["app"])
    agent = everleaf.agent(env=settings(collector))
    agent.wait_for(lambda: collector.spans())
    (root,) = [s for s in collector.spans() if "parentSpanId" not in s]
    attempt = attributes(root)["everleaf.attempt"]
    assert re.fullmatch("[0-9a-f]{16}", attempt)
    assert root["traceId"] == "0" * 16 + attempt
    assert seen.read_text().split() == [attempt]
    (certificate,) = everleaf.status("www")["certificates"]
    assert {line["attempt"] for line in certificate["history"]} == {attempt}
    lines = [json.loads(line) for line in agent.log.splitlines() if line.startswith("{")]
    logged = {line["event"]: line for line in lines if line.get("certificate") == "www"}
    for event in ("renewing", "order placed", "certificate issued", "certificate deployed"):
        assert logged[event]["attempt"] == attempt
        assert re.fullmatch("[0-9a-f]{32}", logged[event]["message_id"])
    assert everleaf.renew("--force", "www").one["attempt"] != attempt


def test_spans_are_what_otlp_wants(everleaf, ca, collector):
    everleaf.certificate("www")
    began = time.time()
    agent = everleaf.agent(env=settings(
        collector, OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cret%20key, other=1", OTEL_SERVICE_NAME="tls",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test,service.name=not%20this"))
    agent.wait_for(lambda: collector.spans())
    path, headers, document = collector.got[0]
    assert path == "/v1/traces" and headers["Content-Type"] == "application/json"
    assert headers["api-key"] == "s3cret key" and headers["other"] == "1" and "s3cret" not in agent.log
    (resource,) = document["resourceSpans"]
    resource = attributes(resource["resource"])
    assert resource["service.name"] == "tls" and resource["deployment.environment"] == "test"
    spans = collector.spans()
    (root,) = [s for s in spans if "parentSpanId" not in s]
    steps = [s for s in spans if s is not root]
    assert root["name"] == "renew" and root["status"]["code"] == 1
    assert attributes(root)["everleaf.certificate"] == "www" and attributes(root)["everleaf.result"] == "renewed"
    assert {"making a key", "placing the order", "waiting for the CA to validate", "finalizing the order",
            "writing the new generation"} <= {s["name"] for s in steps}
    for span in spans:
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
        assert span["traceId"] == root["traceId"] and span["kind"] == 1
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert began * 1e9 <= start <= end <= time.time() * 1e9
    assert {s["parentSpanId"] for s in steps} == {root["spanId"]}
    assert len({s["spanId"] for s in spans}) == len(spans)
    ordered = sorted(steps, key=lambda s: int(s["startTimeUnixNano"]))
    for one, two in zip(ordered, ordered[1:]):
        assert int(one["endTimeUnixNano"]) <= int(two["startTimeUnixNano"])


def test_a_failure_is_an_error_with_its_step(everleaf, ca, collector):
    ca.fault("new-order", problem("rejectedIdentifier", 403, detail='no "<b>\x1b'), times=1)
    everleaf.certificate("www")
    result = everleaf.renew(env=settings(collector, OTEL_BSP_SCHEDULE_DELAY="60000"), expect=(1, 3)).one
    spans = collector.spans()  # a command sends them before it ends
    (root,) = [s for s in spans if "parentSpanId" not in s]
    assert root["status"]["code"] == 2 and 'no "<b>\\x1b' in root["status"]["message"]
    assert attributes(root)["error.type"] == "refused" and attributes(root)["everleaf.step"] == "new-order"
    assert attributes(root)["everleaf.attempt"] == result["attempt"]
    last = max((s for s in spans if s is not root), key=lambda s: int(s["startTimeUnixNano"]))
    assert last["status"]["code"] == 2


def test_the_variable_for_traces_is_the_whole_url(everleaf, ca, collector):
    everleaf.certificate("www")
    everleaf.renew(env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url + "/custom",
                        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert {path for path, _, _ in collector.got} == {"/custom"}


@pytest.mark.parametrize("more", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"},
                                  {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}])
def test_off(everleaf, ca, collector, more):
    everleaf.certificate("www")
    result = everleaf.renew(env=settings(collector, **more))
    assert collector.got == []
    assert ("http/json" in result.stderr) == ("OTEL_EXPORTER_OTLP_PROTOCOL" in more)


@pytest.mark.parametrize("kind", ["silent", "hanging", "refusing"])
def test_a_collector_that_is_away_costs_nothing(everleaf, ca, collector, kind):
    collector.status = {"silent": 200, "hanging": None, "refusing": 503}[kind]
    endpoint = f"http://127.0.0.1:{PORTS.get()}" if kind == "silent" else collector.url
    everleaf.certificate("www")
    agent = everleaf.agent(env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "10",
                                "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"})
    agent.wait_for(lambda: everleaf.generation() == 1)
    wait_for(lambda: "traces not delivered, dropped" in agent.log, what="a line in the log")
    for number in (2, 3):
        assert everleaf.renew("--force", "www").one["generation"] == number
    assert agent.log.count("traces not delivered") == 1


def test_a_renewal_by_timer_does_not_wait_for_a_hanging_collector(everleaf, ca, collector):
    collector.status = None
    everleaf.certificate("www")
    result = everleaf.renew(env=settings(collector, OTEL_EXPORTER_OTLP_TIMEOUT="60000"))
    assert result.one["result"] == "renewed" and result.seconds < 15
