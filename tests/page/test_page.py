"""The status page of a running agent in Chromium: how it looks is in build/page/*.png."""

import re
import shutil

import pytest

from browser import CHROMIUM, Browser
from fake import pki
from fake.ca import problem, problem_reply
from support import PORTS, ROOT

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
PICTURES = ROOT / "build/page"
EVIL = 'Evil <script>document.title="owned"</script><img src=x onerror=alert(1)> "CA"'

# WCAG 2.1: relative luminance and contrast of each text with what is behind it.
CONTRAST = r"""
(() => {
  const parse = c => c.match(/[\d.]+/g).map(Number);
  const over = (top, below) => { const a = top[3] === undefined ? 1 : top[3];
    return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a)); };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { const all = [];
    for (; e; e = e.parentElement) all.push(parse(getComputedStyle(e).backgroundColor));
    return all.reverse().reduce((below, top) => over(top, below), [255, 255, 255]); };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walker.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.getClientRects().length || e.closest('.vh,.skip,style')) continue;
    const back = behind(e), front = over(parse(getComputedStyle(e).color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([n.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return bad;
})()
"""


@pytest.fixture
def browser(tmp_path):
    PICTURES.mkdir(parents=True, exist_ok=True)
    place = tmp_path / "browser"
    place.mkdir()
    browser = Browser(place)
    yield browser
    browser.stop()


def refuse_denied(call, proceed):
    reply = proceed()
    if "denied.example.org" in str(call.payload):
        return problem_reply("rejectedIdentifier", f"{EVIL} does not issue for denied.example.org", 403)
    return reply


@pytest.fixture
def scene(everleaf, ca, nginx, tmp_path):
    """One certificate that is proven, one nobody serves, one the CA refuses, one without servers."""
    out = tmp_path / "out"
    nginx.self_signed(out)
    nginx.site(out)
    nginx.start()
    shutil.rmtree(out)
    ca.intermediate = pki.Authority(EVIL[:60], ca.root)
    ca.fault("new-order", refuse_denied, times=None)
    everleaf.server("nginx", **nginx.settings()).listen()
    everleaf.server("mail", type="exec", reload=["/bin/true"],
                    prove=[{"connect": f"127.0.0.1:{PORTS.get()}", "deadline": "1s"}])
    everleaf.certificate("www", ["www.example.org", "example.org", "static.example.org", "img.example.org"],
                         servers=["nginx"], outputs=[{"type": "files", "dir": str(out), "layout": "plain"}])
    everleaf.certificate("mail", ["mail.example.org"], servers=["mail"])
    everleaf.certificate("denied", ["denied.example.org"], servers=["nginx"])
    everleaf.certificate("plain", ["plain.example.org"])
    agent = everleaf.agent()
    agent.wait_for(lambda: {c["name"]: (c["exit"], c["activity"]) for c in everleaf.status()["certificates"]} ==
                   {"www": (0, None), "mail": (1, None), "denied": (3, None), "plain": (0, None)})
    return everleaf


def address(everleaf, path="/"):
    return f"http://127.0.0.1:{everleaf.listen_port}{path}"


LOOKS = [("desktop-light", {"width": 1280}), ("desktop-dark", {"width": 1280, "dark": True}),
         ("phone-light", {"width": 375, "mobile": True}), ("phone-dark", {"width": 375, "dark": True, "mobile": True}),
         ("narrow", {"width": 320, "mobile": True})]


def test_readable_everywhere(scene, browser):
    for name, look in LOOKS:
        browser.look(**look)
        for path in ("/", "/certificate/www"):
            browser.open(address(scene, path))
            browser.screenshot(PICTURES / f"{name}{'-one' if path != '/' else ''}.png")
            width = browser.evaluate("document.documentElement.scrollWidth")
            assert width <= look["width"], f"{name}: {path} scrolls sideways"
            assert browser.evaluate(CONTRAST) == [], f"{name}: {path}: too little contrast"
            assert browser.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    browser.look(1280, forced_colors=True)
    browser.open(address(scene))
    browser.screenshot(PICTURES / "forced-colors.png")


def test_needs_nothing_else_and_runs_nothing(scene, browser):
    browser.look(1280)
    browser.open(address(scene))
    assert set(browser.requests()) <= {address(scene), "data:,"}
    assert browser.complaints() == []
    text = browser.evaluate("document.body.innerText")
    assert browser.evaluate("document.title").startswith("2 of 4 certificates need attention")
    assert '<script>document.title="owned"</script>' in text  # as text
    assert browser.evaluate("document.scripts.length + document.images.length") == 0
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(address(scene))
    assert ("heading", "2 of 4 certificates need attention") in browser.tree()


def test_shows_what_matters(scene, browser):
    browser.look(1280)
    browser.open(address(scene))
    articles = browser.evaluate("[...document.querySelectorAll('article')].map(a => a.innerText)")
    assert articles[0].startswith("\u2715denied") and articles[1].startswith("!mail")  # the worst first
    by_name = {re.match(r"\W*(\w+)", a)[1]: a for a in articles}
    assert "new-order:" in by_name["denied"] and "does not issue for denied" in by_name["denied"]
    assert "What to do:" in by_name["denied"] and "1 failure in a row" in by_name["denied"]
    assert "There is no certificate yet." in by_name["denied"]
    assert "serves it" in by_name["www"] and "and 1 more" in by_name["www"]
    assert "does not answer" in by_name["mail"]
    assert "No servers" in by_name["plain"]
    line = browser.evaluate("document.querySelector('.ok svg').getAttribute('aria-label')")
    assert re.match(r"Valid from \S+ to \S+, 0 percent are over, renewal at 6\d percent, \S+$", line)
    # Where the marks are is where the times are.
    due, width = browser.evaluate(
        "(() => { const s = document.querySelector('.ok svg').getBoundingClientRect(),"
        " d = document.querySelector('.ok .due').getBoundingClientRect();"
        " return [d.left + d.width / 2 - s.left, s.width]; })()")
    assert 0.6 < due / width < 0.68


def test_keyboard_and_screen_reader(scene, browser):
    browser.look(1280)
    browser.open(address(scene))
    tree = browser.tree()
    roles = [role for role, _ in tree]
    for role in ("banner", "main", "contentinfo", "article"):
        assert role in roles, role
    headings = [name for role, name in tree if role == "heading"]
    assert headings[0] == "2 of 4 certificates need attention"
    assert set(headings[1:5]) == {"www", "mail", "denied", "plain"}  # the sign is not read out
    assert any(role == "image" and name.startswith("Valid from") for role, name in tree)
    assert browser.evaluate("document.documentElement.lang") == "en"
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    ids = browser.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))

    # Everything that can be used is reached by Tab, in order, and shows that it has the focus.
    focused = []
    for _ in range(40):
        browser.key("Tab", 9)
        what = browser.evaluate(
            "(e => e === document.body ? null : [e.tagName, e.innerText, getComputedStyle(e).outlineStyle,"
            " e.getBoundingClientRect().width > 0])(document.activeElement)")
        if what is None:
            break
        focused.append(what)
    assert focused[0][1] == "To the certificates"
    assert all(outline != "none" and visible for _, _, outline, visible in focused)
    assert sum(tag == "SUMMARY" for tag, *_ in focused) == 4
    assert [text.split() for tag, text, *_ in focused if tag == "SUMMARY"][0] == ["Details", "of", "denied"]
    browser.evaluate("document.querySelector('summary').focus()")
    browser.key("Enter", 13)
    assert browser.evaluate("document.querySelector('details').open")


def test_many_certificates_are_paged(everleaf, ca, browser):
    ca.fault("directory", problem("serverInternal", 503), times=None)
    everleaf.listen()
    for i in range(250):
        everleaf.certificate(f"c{i:03}")
    everleaf.agent()
    browser.look(1280)
    seen = set()
    for number in (1, 2, 3):
        browser.open(address(everleaf, "/" if number == 1 else f"/page/{number}"))
        names = browser.evaluate("[...document.querySelectorAll('h2 a')].map(a => a.innerText)")
        seen |= set(names)
        assert ("StaticText", f"Page {number} of 3") in browser.tree()
    assert len(seen) == 250
    browser.open(address(everleaf))
    browser.screenshot(PICTURES / "many.png")
