"""The playground in a real browser, over a real server."""

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.serving.server.playground.browser import Page

pytestmark = pytest.mark.slow

ANSWERED = "!document.querySelector('#answer').hidden && !document.querySelector('#answer').ariaBusy"
TEXT = "document.querySelector('#text').value"
SUMMARY = "document.querySelector('#summary').textContent"
STATUS = "document.querySelector('#status-text').textContent"
PROBLEM = "!document.querySelector('#problem').hidden && document.querySelector('#problem').textContent"
CURL = "document.querySelector('#curl').textContent"
WORDS = "[...document.querySelectorAll('.mask')].map(m => [...m.querySelectorAll('.word')].map(w => w.textContent))"


def predict(url: str, text: str, top_k: int = 5) -> dict[str, Any]:
    """The server's own answer for a text."""
    body = {"signature_name": "fill_mask", "instances": [{"text": text, "top_k": top_k, "targets": ""}]}
    response = httpx.post(f"{url}/v1/models/fill_mask:predict", json=body, trust_env=False)
    return response.json()["predictions"][0]


def address(url: str, **fields: Any) -> str:
    return f"{url}/#{urlencode(fields)}"


def test_it_answers_as_soon_as_it_is_open_and_asks_nobody_else(page: Page, url: str) -> None:
    page.open(f"{url}/")
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    assert page.run(STATUS) == "fill_mask · version 1"
    assert page.run("document.querySelector('#insert').textContent") == "Insert <mask>"
    summary = page.run(SUMMARY)
    assert summary.startswith("1 mask · ")
    assert "answered in " in summary
    assert summary.endswith((" ms", " s"))
    assert all(request.startswith(url) for request in page.requests)


def test_candidates_are_the_servers_with_bars_as_long_as_their_scores(page: Page, url: str) -> None:
    text = "A <mask> is a <mask> of words."
    expected = predict(url, text, top_k=7)
    page.open(address(url, text=text, top_k=7))
    page.wait(f"{ANSWERED} && {WORDS}.length === 2")
    shown = page.run(WORDS)
    for words, tokens in zip(shown, expected["token_str"], strict=True):
        assert [word for word in words if word not in "␣↵⇥"] == [token.strip() for token in tokens if token.strip()]
    shares = page.run(
        "[...document.querySelectorAll('.mask')].map(m => [...m.querySelectorAll('.bar')].map(b =>"
        " b.getBoundingClientRect().width / b.parentElement.clientWidth))"
    )
    for widths, scores in zip(shares, expected["score"], strict=True):
        assert widths == pytest.approx(scores, abs=0.02)
    percent = float(page.run("document.querySelector('.score').textContent").rstrip("%"))
    assert percent == pytest.approx(100 * expected["score"][0][0], rel=0.01)


def test_a_chosen_candidate_takes_the_place_of_its_mask_and_undo_gives_it_back(page: Page, url: str) -> None:
    text = "One <mask> two <mask> three"
    page.open(address(url, text=text))
    page.wait(f"{ANSWERED} && {WORDS}.length === 2")
    page.click(".mask:nth-child(2) li:nth-child(1) button")
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    token = predict(url, text)["token_str"][1][0]
    left = text[: text.rindex("<mask>")]
    after = (left if token[:1].isspace() else left.rstrip()) + token.lstrip() + " three"
    assert page.run(TEXT) == after
    assert page.run(WORDS)[0] == [visible(token) for token in predict(url, after)["token_str"][0]]
    page.click(".mask:nth-child(1) li:nth-child(3) button")
    page.wait(f"{SUMMARY} === 'Every mask is filled in.'")
    assert "<mask>" not in page.run(TEXT)
    assert page.run("document.activeElement.id") == "undo"
    page.press("Enter")
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    page.click("#undo")
    page.wait(f"{ANSWERED} && {WORDS}.length === 2")
    assert page.run(TEXT) == text
    assert page.run("document.querySelector('#undo').disabled")


def visible(token: str) -> str:
    return token.strip() or token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")


@pytest.mark.parametrize(
    ("text", "mask", "word", "spaced", "after"),
    [
        ("a <mask> b", 0, " x", True, "a x b"),
        ("<mask> b", 0, " X", True, "X b"),
        ("(<mask>)", 0, " x", True, "( x)"),
        ("galaxy <mask>", 0, ".", True, "galaxy."),
        ("a [MASK] b", 0, "x", False, "a x b"),
        ("play [MASK] on", 0, "##ing", False, "playing on"),
        ("a <mask> b <mask> c", 1, " $&", True, "a <mask> b $& c"),
    ],
)
def test_words_are_joined_as_their_tokenizer_would(page: Page, url: str, text, mask, word, spaced, after) -> None:
    page.open(f"{url}/")
    page.wait(ANSWERED)
    token = "[MASK]" if "[MASK]" in text else "<mask>"
    arguments = ", ".join(map(json.dumps, (text.split(token), mask, word, spaced)))
    assert page.run(f"(maskToken = {json.dumps(token)}, filled({arguments}))") == after


@pytest.mark.parametrize(
    ("word", "spaced", "is_piece"),
    [
        *(("##ing", False, True), ("##", False, False), ("ing", False, False)),
        *(("ing", True, True), (" ing", True, False), (".", True, False), ("é", True, True), ("日", True, True)),
    ],
)
def test_pieces_of_words_are_told(page: Page, url: str, word: str, spaced: bool, is_piece: bool) -> None:
    page.open(f"{url}/")
    page.wait(ANSWERED)
    assert page.run(f"isPiece({json.dumps(word)}, {json.dumps(spaced)})") is is_piece


def test_versions_and_words_to_choose_among(page: Page, url: str) -> None:
    text = "A <mask> of words."
    page.open(address(url, text=text, version="/versions/1", targets=" of, the"))
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    assert sorted(page.run(WORDS)[0]) == ["of", "the"]
    assert "/v1/models/fill_mask/versions/1:predict" in page.run(CURL)
    options = page.run("[...document.querySelector('#version').options].map(one => one.textContent)")
    assert options == ["latest", "version 1"]


def test_everything_can_be_done_by_keyboard(page: Page, url: str) -> None:
    page.open(address(url, text="x"))
    page.wait(PROBLEM)
    order = []
    for _ in range(4):
        page.press("Tab")
        order.append(page.run("document.activeElement.id || document.activeElement.tagName"))
    assert order == ["text", "insert", "submit", "SUMMARY"]  # Undo has nothing to undo yet
    page.run("document.querySelector('#text').focus()")
    page.run("document.querySelector('#text').setSelectionRange(1, 1)")
    page.type(" is ")
    page.run("document.querySelector('#insert').focus()")
    page.press("Enter")
    assert page.run(TEXT) == "x is <mask>"
    assert page.run("document.activeElement.id") == "text"
    page.press("Enter", control=True)
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    page.run("document.querySelector('.candidate').focus()")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("ArrowUp")
    chosen = page.run("document.activeElement.querySelector('.word').textContent")
    assert chosen == page.run(WORDS)[0][1]
    page.press("Enter")
    page.wait(f"{SUMMARY} === 'Every mask is filled in.'")
    assert page.run(TEXT).startswith("x is")


def test_the_focus_stays_with_the_masks_that_are_left(page: Page, url: str) -> None:
    page.open(address(url, text="<mask> and <mask> or <mask>"))
    page.wait(f"{ANSWERED} && {WORDS}.length === 3")
    page.run("document.querySelector('.mask:nth-child(2) button').focus()")
    page.press("Enter")
    page.wait(f"{ANSWERED} && {WORDS}.length === 2")
    page.wait("document.activeElement.closest('.mask') === document.querySelector('.mask:nth-child(2)')")


@pytest.mark.parametrize(
    "text", ["It's a <mask>", "\"$HOME\" `ls` \\n <mask> !! '' \n\tend", "Straße 😀 <mask> <b>x</b>"]
)
def test_the_curl_line_gives_the_same_answer(page: Page, url: str, text: str) -> None:
    page.open(address(url, text=text, top_k=3))
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    line = page.run(CURL).replace("curl ", "curl --noproxy '*' ", 1)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    answered = json.loads(done.stdout)["predictions"][0]
    assert answered == predict(url, page.run(TEXT), top_k=3)
    assert page.run(WORDS)[0] == [visible(token) for token in answered["token_str"][0]]


def test_the_curl_line_is_copied_or_marked(page: Page, url: str) -> None:
    page.open(f"{url}/")
    page.wait(ANSWERED)
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"], origin=url)
    page.click("#copy")
    page.wait("document.querySelector('#copy').textContent === 'Copied'")
    assert page.run("navigator.clipboard.readText()") == page.run(CURL)
    page.run("navigator.clipboard.writeText = () => Promise.reject(new Error('refused'))")
    page.click("#copy")
    page.wait("document.querySelector('#copy').textContent.startsWith('Marked')")
    assert page.run("getSelection().toString()") == page.run(CURL)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "no mask"}, "Put <mask> into the text where a word is to be filled in."),
        ({"text": "   "}, "Type a text with a mask in it."),
        ({"text": "<mask>" + " many words" * 80}, " tokens, more than the model takes. Shorten it."),
        ({"text": "<mask>", "top_k": 51}, "The model gives fewer candidates than that."),
    ],
)
def test_what_the_model_cannot_answer_is_said_in_words(page: Page, url: str, fields: dict, said: str) -> None:
    page.open(address(url, **fields))
    assert said in page.wait(PROBLEM)
    assert page.run("document.querySelector('#answer').hidden")


def test_errors_of_the_server_are_shown(tab: Page, url: str) -> None:
    tab.open(address(url, text="<mask>", model="another"))
    assert tab.wait(PROBLEM) == "The server answers 404: Servable not found for request: Latest(another)"
    assert tab.run(STATUS) == "another · not served here"
    tab.open(address(url, text="<mask>", server="http://127.0.0.1:9"))
    assert "--rest_api_enable_cors_support=true" in tab.wait(PROBLEM)
    assert tab.run(STATUS) == "fill_mask · out of reach"
    tab.open(address(url, text="<mask>", server="javascript:alert(1)"))
    assert "must start with http:// or https://" in tab.wait(PROBLEM)


def test_text_is_never_taken_for_html(page: Page, url: str) -> None:
    page.open(address(url, text="<img src=x onerror=alert(1)> <mask>", model="fill_mask"))
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    assert page.run("document.images.length") == 0
    assert "<img src=x onerror=alert(1)>" in page.run("document.querySelector('.context').textContent")


@pytest.fixture
def elsewhere(url: str) -> Iterator[str]:
    """The server at another origin, with the headers of TensorFlow Serving's --rest_api_enable_cors_support."""

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = httpx.request(self.command, url + self.path, content=body, trust_env=False)
            self.send_response(answer.status_code)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # there is no OPTIONS: a request that asks beforehand fails

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_points_at_any_tensorflow_serving(page: Page, url: str, elsewhere: str) -> None:
    page.open(address(url, text="A <mask>.", server=elsewhere))
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    assert page.run(STATUS) == "fill_mask · version 1"
    assert page.run(CURL).endswith(f"{elsewhere}/v1/models/fill_mask:predict")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 1000])
def test_it_fits_and_reads_well(page: Page, url: str, width: int, dark: bool) -> None:
    text = f"{'a' * 50} <mask> <mask>"
    page.open(address(url, text=text, server=url), width=width, height=844, dark=dark, phone=width < 500)
    page.wait(f"{ANSWERED} && {WORDS}.length === 2")
    assert page.run("document.documentElement.scrollWidth") <= width
    small = page.run(
        "[...document.querySelectorAll('button, input, textarea, summary')].filter(e => e.offsetHeight < 32).length"
    )
    assert small == 0
    # WCAG 2.2, 1.4.3: at least 4.5 to 1 between text and what is behind it, the bars included.
    ratios = page.run(
        """(() => {
          const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
          const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
            return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
          const behind = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } };
          const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05); };
          const bar = getComputedStyle(document.querySelector('.bar')).backgroundColor;
          const found = [...document.querySelectorAll(
              'h1, h2, h3, p, label, button, textarea, input, code, .word, mark')]
            .filter(e => e.checkVisibility() && !e.disabled)
            .map(e => contrast(getComputedStyle(e).color, behind(e)));
          return [...found, contrast(getComputedStyle(document.querySelector('.word')).color, bar)];
        })()"""
    )
    assert min(ratios) >= 4.5


def test_every_control_has_a_name(page: Page, url: str) -> None:
    page.open(address(url, text="<mask>", server=url))
    page.wait(f"{ANSWERED} && {WORDS}.length === 1")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "combobox", "spinbutton", "DisclosureTriangle", "region"}
    names = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert len(names) >= 12
    assert all(name for _, name in names), names
    assert ("textbox", "Text with a mask for each missing word") in names


def test_a_mask_token_that_could_not_be_asked_for_is_asked_for_again(page: Page, url: str) -> None:
    page.open(f"{url}/")
    page.wait(ANSWERED)
    page.run(
        "(async () => { const fetch_ = fetch; window.fetch = () => Promise.reject(new Error('lost'));"
        " await findMaskToken(maskTokenOf); window.fetch = fetch_; })()"
    )
    page.run("refreshStatus()")
    page.wait("maskToken === '<mask>' && !document.querySelector('#insert').disabled")


def test_a_new_version_is_shown_when_it_serves(page: Page, url: str, base_path: Path) -> None:
    page.open(f"{url}/")
    page.wait(f"{ANSWERED} && {STATUS} === 'fill_mask · version 1'")
    (base_path.parent / "2").rename(base_path / "2")
    try:
        page.wait(f"{STATUS} === 'fill_mask · version 2'")
    finally:
        (base_path / "2").rename(base_path.parent / "2")
    page.wait(f"{STATUS} === 'fill_mask · version 1'")
