"""An answer that broke off and is written again: the old text stays, greyed, until the new one has overtaken it."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import Reader, Readers, shows
from tests.browser.scripted_stream import SESSION, ScriptedStream, paragraphs
from tests.browser.test_accessibility import AXE, PHONE, RECORD_ANNOUNCEMENTS, axe_violations
from tests.browser.test_layout import TOO_WIDE

pytestmark = pytest.mark.needs_chromium

FAILED = {"code": "model_failed", "message": "It failed.", "retryable": True}
# More than a line.
BEGUN = "It begins anew. " * 10
AGAIN = "Live · The answer broke off. It is being written again."

MARKDOWN = {
    "a word": "Half of **it",
    "a list": "- one\n- two\n  1. three",
    "a fence": "Look:\n\n```python\ndef greet(name: str) -> str:\n    return",
    "a table": "| a | b |\n|--|--|\n| one | tw",
    "a formula": "So $$x^2 + ",
    "a quotation": "> It was a dark\n> and [stormy](https://exa",
    "right to left": "## مرحبا\n\nهذا **نص",
}

# The lowest contrast of a text and its background (WCAG 2.2, 1.4.3), over the texts in an element.
LOWEST_CONTRAST = """(root) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const channels = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colours) => {
    const [r, g, b] = channels(colours).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrasts = [];
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement: element, data } = texts.currentNode;
    if (data.trim() === '' || !element.checkVisibility({ visibilityProperty: true })) continue;
    const grounds = [];
    for (let at = element; at !== null; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    const lights = [luminance(grounds), luminance([...grounds, getComputedStyle(element).color])].sort((a, b) => a - b);
    contrasts.push((lights[1] + 0.05) / (lights[0] + 0.05));
  }
  return Math.min(...contrasts);
}"""  # noqa: E501

# Records, at each frame, how far the reader has scrolled, and where the question and the growing answer begin.
RECORD_PLACES = """() => {
  const scroller = document.querySelector('#scroller');
  globalThis.places = [];
  const record = () => {
    const tops = ['[data-row="user-1"]', '[data-row="assistant-1"] .attempt:last-child'].map(
      (one) => document.querySelector(one).getBoundingClientRect().top,
    );
    const place = [scroller.scrollTop, ...tops];
    if (String(place) !== String(places.at(-1))) places.push(place);
    requestAnimationFrame(record);
  };
  record();
}"""


# Resolves when the conversation has not changed for 20 frames: all text is typed, and no scroll is on its way.
_STILL = """() => new Promise((resolve) => {
  const scroller = document.querySelector('#scroller');
  let [before, frames] = ['', 0];
  const look = () => {
    const now = `${scroller.scrollTop} ${scroller.scrollHeight} ${scroller.textContent}`;
    frames = now === before ? frames + 1 : 0;
    before = now;
    if (frames < 20) requestAnimationFrame(look);
    else resolve();
  };
  look();
})"""


def settle(stream: ScriptedStream) -> None:
    """Wait until all text is typed and nothing scrolls."""
    stream.page.evaluate(_STILL)


def discarded(stream: ScriptedStream) -> Locator:
    return stream.page.locator(".discarded")


def broken_off(reader: Reader, text: str) -> ScriptedStream:
    """An answer that has written this text and was reset."""
    stream = ScriptedStream(reader)
    stream.start()
    stream.write(text)
    expect(stream.chat.answer()).not_to_have_text("")
    settle(stream)
    stream.reset(2)
    expect(discarded(stream)).to_be_visible()
    return stream


def test_old_text_stays_greyed_until_the_new_one_has_overtaken_it(reader: Reader) -> None:
    stream = broken_off(reader, paragraphs(3))
    shows(discarded(stream).locator(".answer"), "".join(f"{f'word {number} ' * 30}".strip() for number in range(3)))
    stream.chat.shows_answer("")
    expect(stream.chat.status).to_have_text(AGAIN)
    stream.start(attempt=2)
    stream.write(BEGUN)
    expect(stream.chat.answer()).to_contain_text("It begins anew.")
    expect(discarded(stream)).to_have_css("color", colour(stream, "--quiet"))
    expect(stream.chat.answer()).to_have_css("color", colour(stream, "--ink"))
    stream.write(paragraphs(3, "other"))
    expect(discarded(stream)).to_have_count(0)
    expect(stream.chat.status).to_have_text(AGAIN)
    stream.end()
    stream.state("idle")
    expect(stream.chat.status).to_have_text("Live · Done")


def test_new_text_covers_the_old_one_from_above(reader: Reader) -> None:
    """At each point there is one text: the new one to its end, and the old one below."""
    stream = broken_off(reader, paragraphs(4))
    top = discarded(stream).bounding_box()
    assert top is not None
    probe = "([x, y]) => document.elementFromPoint(x, y).closest('.discarded') !== null"
    first_line, last_line = [top["x"] + 5, top["y"] + 10], [top["x"] + 5, top["y"] + top["height"] - 10]
    assert stream.page.evaluate(probe, first_line)
    stream.write("It begins anew.")
    stream.chat.shows_answer("It begins anew.")
    settle(stream)
    assert stream.page.evaluate(probe, first_line), "the first line is not full yet"
    stream.write(BEGUN)
    settle(stream)
    assert not stream.page.evaluate(probe, first_line)
    assert stream.page.evaluate(probe, last_line)


@pytest.mark.parametrize("anchoring", ["auto", "none"])
def test_reader_who_has_scrolled_up_is_never_moved(reader: Reader, anchoring: str) -> None:
    """Some browsers have no scroll anchoring (CSS Scroll Anchoring 1), which would hide a jump."""
    stream = ScriptedStream(reader)
    stream.start()
    stream.think("Hm. ")
    stream.write(paragraphs(20))
    scroller = stream.page.locator("#scroller")
    expect(stream.chat.answer()).to_contain_text("word 19")
    scroller.evaluate("(scroller, anchoring) => { scroller.style.overflowAnchor = anchoring; }", anchoring)
    scroller.hover()
    stream.page.mouse.wheel(0, -700)
    expect(stream.page.get_by_role("button", name="Newest words")).to_be_visible()
    settle(stream)
    stream.page.evaluate(RECORD_PLACES)
    height = stream.chat.row("assistant-1").bounding_box()
    stream.reset(2)
    expect(discarded(stream)).to_be_visible()
    stream.start(attempt=2, model="beta")
    for at in range(12):
        stream.write(f"{paragraphs(1, f'other {at}')}\n\n")
        settle(stream)
    settle(stream)
    before = stream.chat.row("assistant-1").bounding_box()
    expect(discarded(stream)).to_be_visible()
    assert before == height, "the row changed its height before the old text was overtaken"
    stream.write(paragraphs(12, "more"))
    expect(discarded(stream)).to_have_count(0)
    settle(stream)
    assert len(stream.page.evaluate("places")) == 1, stream.page.evaluate("places")


def test_row_grows_and_never_shrinks_while_it_is_overtaken(reader: Reader) -> None:
    stream = broken_off(reader, paragraphs(3))
    stream.page.evaluate("""() => {
      globalThis.heights = [];
      const record = () => {
        const { height } = document.querySelector('[data-row="assistant-1"]').getBoundingClientRect();
        if (height !== heights.at(-1)) heights.push(height);
        requestAnimationFrame(record);
      };
      record();
    }""")
    for at in range(12):
        stream.write(f"another word {at} " * 12)
        settle(stream)
    expect(discarded(stream)).to_have_count(0)
    settle(stream)
    heights = stream.page.evaluate("heights")
    assert heights == sorted(heights)
    assert len(heights) > 1


def test_old_text_of_one_line_stays_until_it_is_overtaken(reader: Reader) -> None:
    stream = broken_off(reader, "Half of an answer")
    stream.start(attempt=2)
    stream.write("So it")
    stream.chat.shows_answer("So it")
    settle(stream)
    expect(discarded(stream)).to_be_visible()
    expect(stream.chat.answer()).to_be_hidden()
    stream.write(" begins anew")
    expect(discarded(stream)).to_have_count(0)
    expect(stream.chat.answer()).to_be_visible()
    stream.chat.shows_answer("So it begins anew")


def test_longest_text_of_several_attempts_stays(reader: Reader) -> None:
    stream = broken_off(reader, paragraphs(3))
    stream.start(attempt=2)
    stream.write("Too short.")
    stream.chat.shows_answer("Too short.")
    stream.reset(3)
    stream.chat.shows_answer("")
    expect(discarded(stream)).to_have_count(1)
    expect(discarded(stream)).to_contain_text("word 2")
    stream.start(attempt=3)
    stream.write(paragraphs(2, "other"), "\n\n", paragraphs(3, "else"))
    expect(discarded(stream)).to_have_count(0)
    stream.reset(4)
    expect(discarded(stream)).to_contain_text("else 2")
    expect(discarded(stream)).not_to_contain_text("word")


def test_old_text_stays_with_the_note_of_a_failure(readers: Readers) -> None:
    reader = readers(permissions=["clipboard-read", "clipboard-write"])
    stream = broken_off(reader, paragraphs(3))
    stream.start(attempt=2)
    stream.write("Half ")
    stream.end("error", FAILED, tried=3)
    stream.state("idle")
    row = stream.chat.row("assistant-1")
    shows(row.locator(".note"), "The answer failed: the model’s server failed. It was tried 3 times.")
    expect(discarded(stream)).to_contain_text("word 2")
    row.get_by_role("button", name="Copy answer").click()
    expect(row.get_by_text("Copied")).to_have_count(1)
    assert stream.page.evaluate("navigator.clipboard.readText()") == "Half "
    with stream.page.expect_download() as download:
        stream.page.get_by_role("button", name="Export as Markdown").click()
    assert "word" not in download.value.path().read_text()
    stream.ask("And now?")
    stream.start()
    stream.write("Yes.")
    stream.chat.shows_answer("Yes.", turn=2)
    expect(discarded(stream)).to_contain_text("word 2")


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_old_text_goes_with_the_end_of_a_shorter_answer(reader: Reader, reason: str) -> None:
    stream = broken_off(reader, paragraphs(3))
    stream.start(attempt=2)
    stream.write("In short: no.")
    stream.end(reason)
    stream.state("idle")
    stream.chat.shows_answer("In short: no.")
    expect(discarded(stream)).to_have_count(0)


def test_snapshot_replaces_the_old_text(reader: Reader) -> None:
    stream = broken_off(reader, paragraphs(3))
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Well?", "end": None}
    answer = {"turn": 1, "parent": 0, "role": "assistant", "text": "Short.", "end": None}
    data = {"session_id": SESSION, "state": "streaming", "messages": [question, answer]}
    stream.say(("snapshot", "1.1-9", data))
    stream.chat.shows_answer("Short.")
    expect(discarded(stream)).to_have_count(0)


@pytest.mark.parametrize("text", MARKDOWN.values(), ids=MARKDOWN.keys())
def test_discarded_markdown_keeps_its_elements_and_its_place(reader: Reader, text: str) -> None:
    """Also in the middle of a block. The reader's selection stays, too."""
    stream = ScriptedStream(reader)
    stream.start()
    stream.write(paragraphs(1), "\n\n", text)
    expect(stream.chat.answer()).to_contain_text("word 0")
    settle(stream)
    stream.page.evaluate("""() => {
      globalThis.old = document.querySelector('.reply .answer');
      globalThis.before = [old.textContent, JSON.stringify(old.getBoundingClientRect())];
      getSelection().selectAllChildren(old.querySelector('p'));
      globalThis.selected = String(getSelection());
    }""")
    stream.reset(2)
    stream.start(attempt=2)
    expect(discarded(stream)).to_be_visible()
    assert stream.page.evaluate("old.isConnected && old.closest('.discarded') !== null")
    settle(stream)
    assert stream.page.evaluate("[old.textContent, JSON.stringify(old.getBoundingClientRect())]") == (
        stream.page.evaluate("before")
    )
    assert stream.page.evaluate("String(getSelection()) === selected && selected.includes('word 0')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_greyed_text_has_enough_contrast(readers: Readers, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5:1, in code, tables and links, too."""
    inline, code = "`code` and [a link](https://example.com)", "```python\n# A comment\ndef greet():\n    return 1\n```"
    blocks = [MARKDOWN[kind] for kind in ("a list", "a quotation", "right to left", "a table")]
    stream = broken_off(readers(color_scheme=scheme), "\n\n".join([inline, code, *blocks]))
    expect(stream.page.locator(".discarded .token-keyword").first).to_be_visible()
    stream.start(attempt=2)
    stream.write(BEGUN)
    expect(stream.chat.answer()).to_contain_text("It begins anew.")
    assert discarded(stream).evaluate(LOWEST_CONTRAST) >= 4.5
    assert stream.chat.answer().evaluate(LOWEST_CONTRAST) > discarded(stream).evaluate(LOWEST_CONTRAST)
    stream.page.evaluate(AXE.read_text())
    assert axe_violations(stream.page) == []


def test_screen_reader_finds_the_old_text_named_and_hears_that_it_is_written_again(reader: Reader) -> None:
    stream = ScriptedStream(reader)
    stream.start()
    stream.page.evaluate(RECORD_ANNOUNCEMENTS)
    stream.write(paragraphs(2))
    expect(stream.chat.answer()).to_contain_text("word 1")
    settle(stream)
    stream.reset(2)
    stream.start(attempt=2, model="beta")
    stream.write(BEGUN)
    old = stream.page.get_by_role("group", name="Earlier text, which broke off")
    expect(old).to_contain_text("word 1")
    expect(old).not_to_contain_text("It begins")
    heard = stream.page.evaluate("announcements")
    assert heard == [
        "The answer broke off. It is being written again.",
        "The answer broke off. It is being written again. beta is answering now.",
    ]


def test_tab_key_does_not_lead_to_covered_links(reader: Reader) -> None:
    stream = broken_off(reader, "[here](https://example.com)\n\n" + paragraphs(2))
    link = discarded(stream).locator("a")
    assert link.evaluate("(link) => link.tabIndex") == -1


def test_old_text_does_not_move_for_those_who_want_no_motion(readers: Readers) -> None:
    for motion in ("no-preference", "reduce"):
        stream = broken_off(readers(reduced_motion=motion), paragraphs(2))
        moving = "(root) => root.getAnimations({ subtree: true }).length"
        # The pen belongs to the new text.
        assert discarded(stream).evaluate(moving) == 0
        stream.write(BEGUN)
        expect(stream.chat.answer()).to_contain_text("It begins anew.")
        assert stream.chat.answer().evaluate(moving) == (1 if motion == "no-preference" else 0)


def test_reasoning_stays_with_its_text(reader: Reader) -> None:
    stream = ScriptedStream(reader)
    stream.start()
    stream.think("First this.")
    stream.write(paragraphs(2))
    stream.page.locator(".reasoning summary").click()
    expect(stream.page.locator(".reasoning .answer")).to_have_text("First this.")
    expect(stream.chat.answer()).to_contain_text("word 1")
    settle(stream)
    stream.reset(2)
    expect(discarded(stream).locator(".reasoning .answer")).to_have_text("First this.")
    stream.think("Then that.")
    expect(stream.page.locator(".attempt:not(.discarded) .reasoning")).to_be_visible()
    stream.write(BEGUN)
    expect(stream.chat.answer()).to_contain_text("It begins anew.")
    expect(discarded(stream).locator(".reasoning .answer")).to_have_text("First this.")


@pytest.mark.parametrize(
    ("locale", "continued", "by_another"),
    [
        ("en", "Live · The answer broke off and is being continued.", "Live · beta is answering now."),
        ("zh-CN", "已连接 · 回答中断了，正在继续生成。", "已连接 · 现在由 beta 回答。"),
    ],
)
def test_status_tells_of_an_attempt_without_a_reset(
    readers: Readers, locale: str, continued: str, by_another: str
) -> None:
    stream = ScriptedStream(readers(locale=locale))
    stream.start()
    stream.start(attempt=2, model="beta")
    expect(stream.chat.status).to_have_text(by_another)
    stream.write("Half ")
    stream.start(attempt=3, model="beta")
    expect(stream.chat.status).to_have_text(continued)
    stream.write("of it")
    stream.chat.shows_answer("Half of it")
    expect(discarded(stream)).to_have_count(0)


def test_greyed_text_fits_a_phone(readers: Readers) -> None:
    stream = broken_off(readers(**PHONE), "\n\n".join([paragraphs(2), *MARKDOWN.values()]))
    stream.write(BEGUN)
    expect(stream.chat.answer()).to_contain_text("It begins anew.")
    assert stream.page.evaluate(TOO_WIDE) == []


def colour(stream: ScriptedStream, variable: str) -> str:
    """A colour of the page as computed styles show it."""
    return stream.page.evaluate(
        """(variable) => {
      const probe = document.body.appendChild(document.createElement('p'));
      probe.style.color = `var(${variable})`;
      const { color } = getComputedStyle(probe);
      probe.remove();
      return color;
    }""",
        variable,
    )
