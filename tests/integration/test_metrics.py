"""/metrics: names, types and values as the manual has them."""

import re
import time

from support import served_sha256

from fake import pki


def test_series_of_an_issued_and_proven_certificate(everleaf, ca, nginx, tmp_path):
    nginx.self_signed(tmp_path / "out")
    port = nginx.site(tmp_path / "out2")
    (tmp_path / "out").rename(tmp_path / "out2")
    nginx.start()
    everleaf.server("web", **nginx.settings()).listen()
    everleaf.certificate("www", servers=["web"],
                         outputs=[{"type": "files", "dir": str(tmp_path / "out2"), "layout": "plain"}])
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["state"] in ("idle", "proven") and
                   everleaf.generation() == 1)
    metrics = agent.metrics()
    leaf = ca.issued[0][1]
    begin = leaf.not_valid_before.replace(tzinfo=pki.UTC).timestamp()
    end = leaf.not_valid_after.replace(tzinfo=pki.UTC).timestamp()
    www = {"certificate": "www"}
    assert metrics.value("everleaf_certificate_not_before_timestamp_seconds", **www) == begin
    assert metrics.value("everleaf_certificate_not_after_timestamp_seconds", **www) == end
    assert begin < metrics.value("everleaf_certificate_renew_at_timestamp_seconds", **www) < end
    assert metrics.value("everleaf_certificate_ready", **www) == 1
    assert metrics.value("everleaf_certificate_revoked", **www) == 0
    assert metrics.value("everleaf_certificate_info", **www, sha256=pki.sha256(leaf),
                         issuer_cn="Fake Intermediate") == 1
    assert metrics.value("everleaf_renewals_total", result="renewed") == 1
    assert metrics.total("everleaf_renewal_failures_total") == 0
    assert metrics.all("everleaf_renewal_failures_total"), "counters exist before their first event"
    assert metrics.value("everleaf_renewal_duration_seconds_count") == 1
    assert metrics.value("everleaf_consecutive_failures", **www) == 0
    assert metrics.total("everleaf_backoff_until_timestamp_seconds", **www) == 0
    assert abs(metrics.value("everleaf_last_success_timestamp_seconds", **www) - time.time()) < 60
    assert metrics.total("everleaf_acme_requests_total", issuer="test", operation="new-order") == 1
    assert metrics.value("everleaf_acme_requests_total", operation="finalize", code="200") == 1
    assert metrics.total("everleaf_acme_request_duration_seconds_count") > 5
    assert metrics.value("everleaf_deploy_success", **www, server="web") == 1
    assert metrics.value("everleaf_deploys_total", result="proven") == 1
    assert metrics.total("everleaf_rollbacks_total") == 0
    assert metrics.total("everleaf_hook_duration_seconds_count", server="web") >= 1
    endpoint = {"endpoint": f"127.0.0.1:{port}"}
    assert metrics.value("everleaf_endpoint_up", **endpoint) == 1
    assert metrics.value("everleaf_endpoint_serves_live", **endpoint) == 1
    assert metrics.value("everleaf_endpoint_not_after_timestamp_seconds", **endpoint) == end
    assert metrics.total("everleaf_endpoint_handshake_seconds_count") >= 1
    assert metrics.value("everleaf_endpoint_tls_info", **endpoint, version="TLSv1.3") == 1
    assert metrics.value("everleaf_config_reload_success") == 1
    assert metrics.total("everleaf_build_info") == 1
    assert metrics.value("process_resident_memory_bytes") > 0
    assert metrics.value("process_start_time_seconds") <= time.time()
    assert served_sha256(port) == pki.sha256(leaf)
    for name, kind in metrics.types.items():
        assert (kind == "counter") == name.endswith("_total"), (name, kind)
    for name in metrics.names():
        assert {name, re.sub("_(bucket|sum|count)$", "", name)} & set(metrics.types), f"no TYPE of {name}"
    assert "# HELP" in metrics.text and metrics.text.endswith("\n")
    serial = f"{leaf.serial_number:x}"
    for line in metrics.text.splitlines():
        assert serial not in line or "_info" in line


def test_histograms_are_cumulative(everleaf, ca):
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    metrics = agent.metrics()
    buckets = [(labels, value) for name, labels, value in metrics.samples
               if name == "everleaf_acme_request_duration_seconds_bucket"]
    assert buckets and buckets[-1][0]["le"] == "+Inf"
    values = [value for _, value in buckets]
    assert values == sorted(values)
    assert values[-1] == metrics.total("everleaf_acme_request_duration_seconds_count")
    bounds = [float(labels["le"]) for labels, _ in buckets]
    assert bounds == sorted(bounds)


def test_failures_are_counted(everleaf, ca):
    ca.validate = "fail"
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.one_status()["failures"] == 1)
    metrics = agent.metrics()
    www = {"certificate": "www"}
    assert metrics.value("everleaf_certificate_ready", **www) == 0
    assert metrics.value("everleaf_renewals_total", result="failed") == 1
    assert metrics.total("everleaf_renewal_failures_total") == 1
    assert metrics.value("everleaf_renewal_failures_total", reason="refused") == 1
    assert metrics.value("everleaf_consecutive_failures", **www) == 1
    assert metrics.value("everleaf_backoff_until_timestamp_seconds", **www) > time.time()
    before = metrics.value("everleaf_renewals_total", result="renewed")
    ca.validate = True
    everleaf.renew("www")
    metrics = agent.metrics()
    assert metrics.value("everleaf_renewals_total", result="renewed") == before + 1
    assert metrics.value("everleaf_consecutive_failures", **www) == 0


def test_label_values_are_escaped(everleaf, ca):
    everleaf.certificate("www", ["www.example.org"]).listen()
    everleaf.config["agent"]["listen"] = f"127.0.0.1:{everleaf.listen_port}"
    ca.intermediate = pki.Authority('Quote " Back \\ Name', ca.root)
    agent = everleaf.agent()
    agent.wait_for(lambda: agent.get("/readyz")[0] == 200)
    metrics = agent.metrics()
    (labels,) = [l for n, l, _ in metrics.samples if n == "everleaf_certificate_info"]
    assert labels["issuer_cn"] == 'Quote \\" Back \\\\ Name'
