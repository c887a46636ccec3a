"""Alert rules and dashboard beside a real Prometheus that scrapes a real agent."""

import email.utils
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from fake.ca import problem_reply, with_headers
from support import PORTS, ROOT, Metrics, stop_process, wait_for

MONITORING = ROOT / "packaging/monitoring"
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
NODE_EXPORTER = shutil.which("prometheus-node-exporter")
pytestmark = pytest.mark.skipif(not (PROMTOOL and PROMETHEUS and NODE_EXPORTER),
                                reason="prometheus or its node_exporter is not installed")

PLACES = {"$instance": ".*", "$certificate": ".*", "$__rate_interval": "1m", "$__range": "1h"}
METRIC = re.compile(r"\b((?:everleaf|process)_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
WORDS = re.compile(r'"[^"]*"')
UNSEEN = {"Validity of staples left", "Fetches without a staple"}  # this CA has no responder
TEXTS = ("summary", "cause", "runbook")
ALERTS = {
    "EverleafRenewalOverdue", "EverleafCertificateExpiring", "EverleafCertificateExpired",
    "EverleafRenewalFailing", "EverleafNotServed", "EverleafUnproven", "EverleafRolledBack",
    "EverleafStapleExpiring", "EverleafCaPaused", "EverleafCaLimited", "EverleafClockSkew",
    "EverleafConfigReloadFailed", "EverleafAbsent"}


def promtool(*args, **options):
    result = subprocess.run([PROMTOOL, *map(str, args)], capture_output=True, text=True, timeout=120,
                            check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def fill(query):
    for place, value in PLACES.items():
        query = query.replace(place, value)
    return query


def dashboard_queries():
    """(title of the panel, query) of every target."""
    dashboard = json.loads((MONITORING / "everleaf-dashboard.json").read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"]
            for target in panel.get("targets", [])]


def families(metrics):
    """The labels of each series name."""
    labels = {}
    for name, of, _ in metrics.samples:
        labels.setdefault(name, set()).update(of)
    return labels


# Files ------------------------------------------------------------------------------------------------


def test_rules_fire_when_they_must_and_are_silent_when_all_is_well():
    promtool("check", "rules", MONITORING / "everleaf.rules.yml")
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "everleaf.rules.test.yml", cwd=MONITORING)


def test_every_alert_of_the_manual_is_there_and_is_made_to_fire():
    rules = (MONITORING / "everleaf.rules.yml").read_text()
    tests = (MONITORING / "everleaf.rules.test.yml").read_text()
    named = re.findall(r"^      - alert: (\w+)", rules, re.MULTILINE)
    assert set(named) >= ALERTS and len(set(named)) == len(named)
    for rule, name in zip(re.split(r"^      - alert: ", rules, flags=re.MULTILINE)[1:], named):
        for text in TEXTS:
            assert re.search(rf"^          {text}: \S", rule, re.MULTILINE), (name, text)
        assert "severity:" in rule, name
        fires = rf'alertname="{name}"|alertname: {name}\n\s+eval_time: \S+\n\s+exp_alerts:'
        assert re.search(fires, tests), f"{name} is never made to fire"


def test_no_threshold_is_a_number_of_days():
    rules = (MONITORING / "everleaf.rules.yml").read_text()
    expressions = re.findall(r"expr: (?:\|\n)?(.*?)\n(?:        for|        labels)", rules, re.DOTALL)
    assert len(expressions) >= len(ALERTS)
    for expression in expressions:
        for number in re.findall(r"(?<![\w\[])\d+(?!\w)", WORDS.sub("", expression)):
            assert int(number) <= 60, expression  # shares and counts; no seconds of a day


def test_every_query_of_the_dashboard_parses(tmp_path):
    queries = dashboard_queries()
    assert len(queries) > 30
    rules = "groups:\n  - name: dashboard\n    rules:\n" + "".join(
        f"      - {{record: 'panel:{i}', expr: {json.dumps(fill(query))}}}\n"
        for i, (_, query) in enumerate(queries))
    (tmp_path / "rules.yml").write_text(rules)
    assert f"{len(queries)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


def test_panels_have_a_title_of_their_own_and_do_not_overlap():
    panels = json.loads((MONITORING / "everleaf-dashboard.json").read_text())["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert len({p["title"] for p in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


# Running ----------------------------------------------------------------------------------------------


class Prometheus:
    def __init__(self, place, target):
        self.port = PORTS.get()
        place.mkdir()
        rules = place / "everleaf.rules.yml"
        rules.write_bytes((MONITORING / "everleaf.rules.yml").read_bytes())
        (place / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: [{rules}]\n"
            f"scrape_configs:\n  - job_name: everleaf\n    static_configs: [{{targets: ['{target}']}}]\n")
        promtool("check", "config", place / "prometheus.yml")
        with open(place / "log", "wb") as log:
            self.process = subprocess.Popen(
                [PROMETHEUS, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as e:
            if e.code == 503:  # starting
                return None
            raise AssertionError(f"{query}: {e.read().decode()}") from None
        except OSError:
            return None

    def query(self, query):
        return (self.get("query", query=query) or {}).get("result", [])

    def stop(self):
        stop_process(self.process)


def refuse_denied(call, proceed):
    reply = proceed()
    if "denied.example.org" in json.dumps(call.payload):
        return problem_reply("rejectedIdentifier", "not for you", 403)
    return reply


@pytest.fixture
def watched(everleaf, ca, nginx, tmp_path):
    """One certificate that nginx serves, one that nobody can get, and Prometheus."""
    out = tmp_path / "out"
    nginx.self_signed(out)
    nginx.site(out)
    nginx.start()
    shutil.rmtree(out)
    everleaf.config["issuers"]["test"]["limits"] = {"orders": "300/3h"}
    settings = nginx.settings()
    settings["prove"][0]["trust"] = {"file": str(ca.root_file)}
    everleaf.server("nginx", **settings).listen()
    everleaf.certificate("www", servers=["nginx"],
                         outputs=[{"type": "files", "dir": str(out), "layout": "plain"}])
    everleaf.certificate("denied", ["denied.example.org"], servers=["nginx"])
    ca.fault("new-order", refuse_denied, times=None)
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status("www")["state"] in ("idle", "proven") and
                   everleaf.one_status("denied")["failures"] > 0)
    prometheus = Prometheus(tmp_path / "prometheus", f"127.0.0.1:{everleaf.listen_port}")
    yield everleaf, agent, prometheus
    prometheus.stop()


def test_a_real_prometheus_scrapes_and_fires(watched):
    everleaf, agent, prometheus = watched
    wait_for(lambda: prometheus.query("up == 1"), what="a scrape")
    (target,) = prometheus.get("targets")["activeTargets"]
    assert target["health"] == "up" and target["lastError"] == ""
    firing = wait_for(lambda: prometheus.query('ALERTS{alertname="EverleafRenewalFailing",alertstate="firing"}'),
                      what="an alert about the certificate that fails")
    assert [a["metric"]["certificate"] for a in firing] == ["denied"]
    (alert,) = [a for a in prometheus.get("alerts")["alerts"] if a["labels"]["alertname"] == "EverleafRenewalFailing"]
    assert 'Step "new-order" fails (it was refused' in alert["annotations"]["cause"]
    assert not prometheus.query('ALERTS{certificate="www"}')

    # The rules: no alert waits for a series that nobody exports.
    metrics = agent.metrics()
    rules = re.findall(r"expr: (?:\|\n)?(.*?)\n(?:        for|        labels)",
                       (MONITORING / "everleaf.rules.yml").read_text(), re.DOTALL)
    for name in {name for rule in rules for name, _ in METRIC.findall(WORDS.sub('""', rule))}:
        assert name in metrics.types, name

    # The dashboard: every series and label of every query is exported, and every query answers.
    exported = families(metrics)
    used = set()
    for title, query in dashboard_queries():
        for name, selector in METRIC.findall(WORDS.sub('""', fill(query))):
            if title in UNSEEN and name in metrics.types:
                continue
            assert name in exported, f"{title}: {name} is not exported"
            for label in re.findall(r"(\w+)\s*(?:=|!=|=~)", selector):
                assert label in exported[name] | {"instance", "job"}, f"{title}: {name} has no {label}"
            used.add(name)
        for labels in re.findall(r"by \(([^)]*)\)", query):
            for label in labels.split(", "):
                assert any(label in exported.get(name, set()) | {"instance", "job"} for name, _ in METRIC.findall(query)), title
        assert prometheus.query(fill(query)) is not None, title
    assert len(used) > 20
    everleaf.renew("--force", "www")
    wait_for(lambda: not [title for title, query in dashboard_queries()
                          if title not in UNSEEN and not prometheus.query(fill(query))],
             what="something to see in every panel")


@pytest.mark.parametrize("accept, kind, end", [
    ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text", True),
    ("text/plain;version=0.0.4", "text/plain", False), ("*/*", "text/plain", False)])
def test_formats_are_negotiated(everleaf, accept, kind, end):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    request = urllib.request.Request(f"http://127.0.0.1:{everleaf.listen_port}/metrics", headers={"Accept": accept})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
        text = response.read().decode()
        assert response.headers["Content-Type"].startswith(kind)
    assert text.endswith("# EOF\n") == end
    assert Metrics(text.replace("# EOF\n", "")).value("everleaf_certificate_ready", certificate="www") == 1
    if not end:
        assert "error" not in promtool("check", "metrics", input=text)


@pytest.mark.parametrize("ahead", [0, -7200, 86400])
def test_the_clock_is_compared_with_the_cas(everleaf, ca, ahead):
    date = email.utils.formatdate(time.time() - ahead, usegmt=True)
    for operation in ("directory", "new-nonce", "new-account", "new-order", "order", "authorization", "challenge",
                      "finalize", "certificate"):
        ca.fault(operation, with_headers(Date=date), times=None)
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    assert abs(agent.metrics().value("everleaf_clock_skew_seconds", issuer="test") - ahead) <= 10


def test_timer_mode_leaves_its_metrics_for_node_exporter(everleaf, ca, tmp_path):
    """The real node_exporter reads the file; without series that it has of its own."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    file = folder / "everleaf.prom"
    everleaf.certificate("www")
    everleaf.config["agent"]["metrics_file"] = str(file)
    everleaf.renew("--due")
    text = file.read_text()
    assert Metrics(text).value("everleaf_certificate_ready", certificate="www") == 1
    assert Metrics(text).value("everleaf_renewals_total", result="renewed") == 1
    assert file.stat().st_mode & 0o777 == 0o644
    assert "error" not in promtool("check", "metrics", input=text)
    port = PORTS.get()
    with open(tmp_path / "node_exporter.log", "wb") as log:
        exporter = subprocess.Popen(
            [NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{port}", f"--collector.textfile.directory={folder}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def scrape():
            try:
                with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
                    return response.read().decode()
            except OSError:
                return None

        shown = wait_for(scrape, what="node_exporter")
        assert "node_textfile_scrape_error 0" in shown
        assert 'everleaf_certificate_ready{certificate="www"} 1' in shown
        assert f'node_textfile_mtime_seconds{{file="{file}"}}' in shown
    finally:
        stop_process(exporter)


def test_the_metrics_file_can_be_named_for_one_run(everleaf, ca, tmp_path):
    everleaf.certificate("www")
    everleaf.config["agent"]["metrics_file"] = str(tmp_path / "configured.prom")
    everleaf.renew("--metrics-file", str(tmp_path / "asked.prom"))
    assert (tmp_path / "asked.prom").exists() and not (tmp_path / "configured.prom").exists()
    # Where it cannot be written the renewal is what counts.
    missing = tmp_path / "missing"
    result = everleaf.renew("--force", "--metrics-file", str(missing / "x.prom"))
    assert result.one["result"] == "renewed" and not missing.exists()
    assert "metrics not written" in result.stderr and str(missing) in result.stderr
