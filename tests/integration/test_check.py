"""`check`: every problem of a configuration in one run, with its place and a way out."""

import os

import pytest

GOOD = """\
issuers:
  test: {directory: "https://ca.example.org/directory", terms_agreed: true, contact: ops@example.org}
challenges:
  web: {type: http-01, listen: "127.0.0.1:9480"}
certificates:
  www: {names: [www.example.org, example.org]}
"""


@pytest.fixture
def check(make_everleaf):
    everleaf = make_everleaf()

    def run(text, expect=2):
        everleaf.write(text)
        plain = everleaf.run("check", expect=expect)
        document = everleaf.run("check", "--json", expect=expect).json
        assert document["schema"] == "everleaf.check/1" and document["exit"] == expect
        assert document["file"] == str(everleaf.file)
        assert (expect == 2) == any(p["severity"] == "error" for p in document["problems"])
        for problem in document["problems"]:
            assert set(problem) >= {"severity", "file", "line", "column", "path", "message", "source",
                                    "suggestion"}
            if problem["line"]:
                place = f"{problem['file']}:{problem['line']}:{problem['column']}: {problem['severity']}: "
                assert place + problem["message"] in plain.stdout + plain.stderr, plain
        run.plain = plain
        return document["problems"]

    run.everleaf = everleaf
    return run


def test_a_good_file(check):
    assert check(GOOD, expect=0) == []
    assert check.plain.stdout in [
        f"{check.everleaf.file}: ok, {text}\n" for text in ("1 certificate", "1 certificates")]


def test_the_smallest_useful_file(check):
    assert check("""\
issuers:
  letsencrypt: {contact: ops@example.org, terms_agreed: true}
certificates:
  www: {names: [www.example.org, example.org], servers: [nginx]}
""", expect=0) == []


def test_file_by_argument(check):
    check.everleaf.write(GOOD)
    result = check.everleaf.run("check", check.everleaf.file, config=False, expect=0)
    assert "ok, 1 certificate" in result.stdout


def test_no_certificates_is_fine(check):
    assert check("issuers: {letsencrypt: {terms_agreed: true}}\n", expect=0) == []
    assert "ok, 0 certificates" in check.plain.stdout
    check("", expect=0)


def test_all_problems_in_one_run(check):
    problems = check("""\
agent:
  listen: nonsense
  http_timeout: 30 parsecs
  concurrency: 0
  concurency: 4
issuers:
  test: {directory: "http://ca.example.org/directory", terms_agreed: 1, terms_agreed: true}
  broken: {contact: 17}
challenges:
  web: {type: http-02}
servers:
  app: {type: exec}
certificates:
  www: {nmaes: [a.example.org], issuer: tset}
  "bad/name": {names: [b.example.org], issuer: test}
  c: {names: ["*.example.org"], issuer: test, key: {type: rsa-1024}}
""")
    lines = {p["line"] for p in problems if p["severity"] == "error"}
    assert lines >= {2, 3, 4, 5, 7, 10, 12, 14, 15, 16}
    (unknown,) = [p for p in problems if p["line"] == 5]
    assert unknown["suggestion"] == "concurrency" and unknown["column"] == 3
    assert unknown["source"] == "  concurency: 4" and unknown["path"] == "agent.concurency"
    text = check.plain.stdout + check.plain.stderr
    assert "  concurency: 4" in text and "^" in text and "did you mean" in text
    assert any(p["suggestion"] == "names" for p in problems if p["line"] == 14)


SINGLE = {
    "unknown section": ("certificate: {}\n", 1, 1, "certificates"),
    "unknown key": ("certificates:\n  www:\n    nams: [a.example.org]\n", 3, 5, "names"),
    "duplicate key": (GOOD + "  www: {names: [b.example.org]}\n", 7, 3, None),
    "tab": ("issuers:\n\ttest: {}\n", 2, None, None),
    "unclosed brace": ("issuers: {test: {directory: x\n", None, None, None),
    "wrong type": ("certificates:\n  www: {names: {a: b}}\n", 2, None, None),
    "names empty": (GOOD.replace("[www.example.org, example.org]", "[]"), 6, None, None),
    "names missing": (GOOD.replace("names: [www.example.org, example.org]", "key: {type: rsa-2048}"),
                      6, None, None),
    "bad name": (GOOD.replace("www.example.org,", '"www..example.org",'), 6, None, None),
    "name with a space": (GOOD.replace("www.example.org,", '"www example.org",'), 6, None, None),
    "name with a path": (GOOD.replace("www.example.org,", '"../etc/passwd",'), 6, None, None),
    "name with a scheme": (GOOD.replace("www.example.org,", '"https://www.example.org",'), 6, None, None),
    "name twice": (GOOD.replace("example.org]", "WWW.example.org]"), 6, None, None),
    "label too long": (GOOD.replace("www.example.org,", "a" * 64 + ".example.org,"), 6, None, None),
    "wildcard by http-01": (GOOD.replace("www.example.org,", '"*.example.org",'), 6, None, None),
    "wildcard in the middle": (GOOD.replace("www.example.org,", '"www.*.example.org",'), 6, None, None),
    "certificate with a path as name": (GOOD.replace("  www:", '  "../www":'), 6, 3, None),
    "certificate with a leading dot": (GOOD.replace("  www:", "  .www:"), 6, 3, None),
    "certificate without a name": (GOOD.replace("  www:", '  "":'), 6, 3, None),
    "unknown issuer": (GOOD.replace("example.org]}", "example.org], issuer: tset}"), 6, None, "test"),
    "unknown challenge": (GOOD.replace("example.org]}", "example.org], challenge: wbe}"), 6, None, "web"),
    "unknown server": (GOOD.replace("example.org]}", "example.org], servers: [ngnix]}"), 6, None, "nginx"),
    "unknown key type": (GOOD.replace("example.org]}", "example.org], key: {type: ecdsa-p265}}"),
                         6, None, "ecdsa-p256"),
    "unknown output": (GOOD.replace("example.org]}", "example.org], outputs: [{type: fiels, dir: /x}]}"),
                       6, None, "files"),
    "output without a path": (GOOD.replace("example.org]}", "example.org], outputs: [{type: files}]}"),
                              6, None, None),
    "relative output": (GOOD.replace("example.org]}",
                                     "example.org], outputs: [{type: files, dir: tls/www}]}"),
                        6, None, None),
    "bad duration": (GOOD + "agent: {http_timeout: 30x}\n", 7, None, None),
    "negative duration": (GOOD + 'agent: {http_timeout: "-5s"}\n', 7, None, None),
    "duration without a unit": (GOOD + "agent: {http_timeout: 30}\n", 7, None, None),
    "huge duration": (GOOD + "agent: {http_timeout: 99999999999999999999w}\n", 7, None, None),
    "renew.before too large a share": (GOOD.replace("example.org]}", "example.org], renew: {before: 3/2}}"),
                                       6, None, None),
    "bad mode": (GOOD.replace("example.org]}",
                              'example.org], outputs: [{type: files, dir: /x, key_mode: "0999"}]}'),
                 6, None, None),
    "unknown owner": (GOOD.replace("example.org]}",
                                   "example.org], outputs: [{type: files, dir: /x, owner: no-such-user}]}"),
                      6, None, None),
    "http directory": (GOOD.replace("https://", "http://"), 2, None, None),
    "directory that is no URL": (GOOD.replace('"https://ca.example.org/directory"', '"ca example"'),
                                 2, None, None),
    "terms by a string": (GOOD.replace("terms_agreed: true", 'terms_agreed: "yes"'), 2, None, None),
    "secret in the file": (GOOD.replace("terms_agreed: true",
                                        "terms_agreed: true, eab: {kid: a, hmac: c2VjcmV0}"), 2, None, None),
    "secret that is not there": (
        GOOD.replace("terms_agreed: true",
                     "terms_agreed: true, eab: {kid: a, hmac: {file: /nonexistent/mac}}"), 2, None, None),
    "secret from an unset variable": (
        GOOD.replace("terms_agreed: true",
                     "terms_agreed: true, eab: {kid: a, hmac: {env: NO_SUCH_VARIABLE}}"), 2, None, None),
    "eab without hmac": (GOOD.replace("terms_agreed: true", "terms_agreed: true, eab: {kid: a}"),
                         2, None, None),
    "no ca_file there": (GOOD.replace("terms_agreed: true", "terms_agreed: true, ca_file: /nonexistent/ca"),
                         2, None, None),
    "listen port": (GOOD.replace("127.0.0.1:9480", "127.0.0.1:99999"), 4, None, None),
    "log level": (GOOD + "agent: {log: {level: loud}}\n", 7, None, None),
    "exec without reload": (GOOD + "servers: {app: {type: exec}}\n", 7, None, None),
    "exec by a string": (GOOD + "servers: {app: {type: exec, reload: \"systemctl reload x\"}}\n", 7, None,
                         None),
    "prove without connect": (GOOD + "servers: {app: {type: nginx, prove: [{sni: x}]}}\n", 7, None, None),
    "signal unknown": (GOOD + "servers: {app: {type: signal, pid_file: /run/x, signal: HUPP}}\n", 7, None,
                       None),
    "section that does not exist": (GOOD + "nonsense: {endpoints: []}\n", 7, 1, None),
    "letter case": (GOOD.replace("certificates:", "Certificates:"), 5, 1, "certificates"),
    "NUL": (GOOD + 'agent: {log: {level: "in\\0fo"}}\n', 7, None, None),
}


@pytest.mark.parametrize("case", SINGLE)
def test_one_problem(check, case):
    text, line, column, suggestion = SINGLE[case]
    errors = [p for p in check(text) if p["severity"] == "error"]
    at_line = [p for p in errors if p["line"] == line] if line else errors
    assert at_line, errors
    if column:
        assert column in [p["column"] for p in at_line]
    if suggestion:
        assert suggestion in [p["suggestion"] for p in at_line], at_line
    assert len(errors) <= 2, errors
    assert all(p["message"] for p in errors)
    if case == "secret in the file":
        assert "c2VjcmV0" not in check.plain.stdout + check.plain.stderr
    elif case not in ("tab", "unclosed brace"):
        assert all(p["source"] == text.splitlines()[p["line"] - 1] for p in at_line)


def test_two_certificates_write_one_path(check):
    problems = check("""\
issuers: {test: {directory: "https://ca.example.org/d", terms_agreed: true}}
challenges: {web: {type: http-01, listen: ":80"}}
certificates:
  a: {names: [a.example.org], outputs: [{type: files, dir: /etc/tls/x}]}
  b: {names: [b.example.org], outputs: [{type: files, dir: /etc/tls/./x/}]}
  c: {names: [c.example.org], outputs: [{type: combined, path: /etc/tls/x/privkey.pem}]}
""")
    assert {p["line"] for p in problems} >= {5, 6}
    assert all("/etc/tls/" in p["message"] for p in problems)


def test_yaml_is_yaml_1_2(check):
    """A name like `no` or `on` is a name."""
    assert check(GOOD.replace("www.example.org,", "no.example.org,").replace("  www:", "  no:"),
                 expect=0) == []


def test_include(check):
    folder = check.everleaf.place / "conf.d"
    folder.mkdir()
    main = "include: conf.d/*.yaml\n" + GOOD
    assert check(main, expect=0) == []
    (folder / "a.yaml").write_text("certificates: {mail: {names: [mail.example.org]}}\n")
    (folder / "b.yaml").write_text("certificates: {ftp: {names: [ftp.example.org]}}\n")
    assert check(main, expect=0) == []
    assert "ok, 3 certificates" in check.plain.stdout
    (folder / "c.yaml").write_text("certificates:\n  www: {names: [other.example.org]}\n  x: {nmaes: []}\n")
    problems = check(main)
    assert {p["file"] for p in problems} == {str(folder / "c.yaml")}
    assert {p["line"] for p in problems} == {2, 3}
    (folder / "c.yaml").unlink()
    problems = check(main.replace("conf.d/*.yaml", "[conf.d/a.yaml, conf.d/missing.yaml]"))
    assert "missing.yaml" in problems[0]["message"] and problems[0]["line"] == 1
    (folder / "loop.yaml").write_text("include: loop.yaml\n")
    check("include: conf.d/loop.yaml\n" + GOOD)


def test_unreadable_and_odd_files(check, tmp_path):
    everleaf = check.everleaf
    for target in ("/nonexistent/x.yaml", str(tmp_path)):
        result = everleaf.run("check", "--json", target, config=False, expect=2)
        assert result.json["problems"][0]["message"]
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(256)) * 10)
    everleaf.run("check", binary, config=False, expect=2)
    big = tmp_path / "big.yaml"
    big.write_text("# comment\n" * 600000)
    everleaf.run("check", big, config=False, expect=2)
    deep = tmp_path / "deep.yaml"
    deep.write_text("a: " + "[" * 20000)
    everleaf.run("check", deep, config=False, expect=2)
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)))
    assert everleaf.run("check", bomb, config=False, expect=2).seconds < 10


def test_control_characters_in_the_file_are_not_echoed(check):
    check('certificates: {"w\\e[31mw": {names: [a.example.org]}}\n')
    assert "\x1b" not in check.plain.stdout + check.plain.stderr


def test_a_file_that_others_may_write_is_refused_or_warned(check):
    everleaf = check.everleaf
    everleaf.write(GOOD)
    os.chmod(everleaf.file, 0o666)
    result = everleaf.run("check")
    assert "writ" in result.stdout + result.stderr, result


def test_secrets_come_from_file_environment_and_credential(check, tmp_path):
    secret = tmp_path / "mac"
    secret.write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\n")
    secret.chmod(0o600)
    template = GOOD.replace("terms_agreed: true", "terms_agreed: true, eab: {kid: a, hmac: {%s}}")
    assert check(template % f"file: {secret}", expect=0) == []
    everleaf = check.everleaf
    everleaf.write(template % "env: MAC_OF_TEST")
    everleaf.run("check", expect=0, env={"MAC_OF_TEST": secret.read_text().strip()})
    everleaf.write(template % "credential: mac")
    everleaf.run("check", expect=0, env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    # Only the service sees it: whoever checks by hand gets a warning, not an error.
    unseen = everleaf.run("check", expect=0)
    assert "warning" in unseen.stdout + unseen.stderr and "credential" in unseen.stdout + unseen.stderr


def test_check_asks_nobody(make_everleaf, ca, tmp_path):
    everleaf = make_everleaf().issuer(ca).http_01(1).certificate("www").write()
    everleaf.run("check", expect=0)
    assert ca.calls == [] and not everleaf.state.exists()
