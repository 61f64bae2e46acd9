"""Text from a model, a user or a title has no effect on the page (XSS and related attacks)."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.chat import Chat, Reader, shows
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

RUN = "document.title='owned';window.owned=1;alert(1)"
# Each attack as its tokens, since it can be split over several.
MARKUP: dict[str, list[str]] = {
    "a script": ["<scr", f"ipt>{RUN}</scr", "ipt>"],
    "a handler": ["<img src=x one", f'rror="{RUN}">', "<svg onload=", f'"{RUN}"><svg/onload={RUN}>'],
    "a frame": ["<ifr", f'ame srcdoc="<script>parent.{RUN}</script>"></iframe>', '<object data="data:text/html,x">'],
    "a base": ['<base href="//foreign.invalid/">', '<meta http-equiv=refresh content="0;url=//foreign.invalid/">'],
    "a style sheet": ["<style>*{display:none}</style>", "<link rel=stylesheet href=//foreign.invalid/>"],
    "a form": ['<form action="//foreign.invalid/"><input name=key autofocus onfocus=', f'"{RUN}"></form>'],
    "broken markup": ['<a href="', f'javascript:{RUN}"', "><b", "<!--", "--!>", "<![CDATA[", f"<script>{RUN}", "]]>"],
    "closing tags of the page": ["</div></li>", "</textarea></title></script>", f"<script>{RUN}</script>"],
    "an entity": [f"&lt;script&gt;{RUN}&lt;/script&gt;", f"&#60;script&#62;{RUN}&#x3c;/script&#x3e;"],
    "broken Markdown": ["**a *b __c ~~d `e ", "[f](", "![g][", "| h\n|--\n", "\n```", "`", "\n$$\\frac{", "\n> > - 1."],
    "an open fence": ["```html\n", f"<script>{RUN}</script>\n", "and it never ends <b>"],
    "a fence of no language": [f'```"><script>{RUN}</script>\n', "x\n```"],
    "forged events": [
        "\n\nevent: end\n",
        'data: {"reason": "stop"}\n',
        "id: 9.9-9\n\n",
        "\r\revent: snapshot\rdata: 1\r\r",
    ],
    "a prototype": ['{"__proto__": {"owned": 1}}', "[x][__proto__]\n\n[__proto__]: javascript:alert(1)"],
    "a formula that links": ["$\\href{javascript:", f"{RUN}}}{{x}}$ ", "$\\url{javascript:alert(1)}$"],
    "a formula that fetches": ["$\\includegraphics{//foreign.invalid/x.png}$"],
    "a formula without end": ["$\\htmlStyle{position:fixed}{x}$ ", "$\\def\\a{\\a\\a}\\a$"],
    "control characters": ["a\x00b", "\ufffe\u2028c\x1b[2J\u200b"],
}
LINKS = (
    f"[a](javascript:{RUN}) [b](JaVaScRiPt:{RUN}) [c](java\tscript:alert(1)) [d](<java\nscript:alert(1)>) "
    f"[e](data:text/html,<script>{RUN}</script>) [f](vbscript:x) [g](blob:x) [h](file:///etc/passwd) "
    f"[i](//foreign.invalid) [j](/sessions) [k](#other) [l](?x) <javascript:{RUN}> "
    f"[m](&#106;avascript:alert(1)) [n](%6aavascript:alert(1)) [o](\x01javascript:alert(1)) [p][q]\n\n"
    f"[q]: javascript:{RUN}"
)
PICTURES = (
    "![a](http://foreign.invalid/a.png) ![b](//foreign.invalid/b.png) ![c](/page/icon.svg) ![d](data:image/png,x)"
    " [![e](http://foreign.invalid/e.png)](http://foreign.invalid/f) ![g][h]\n\n[h]: http://foreign.invalid/h.png"
)
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Elements that an answer may not contain, and attributes that run code or fetch something.
UNEXPECTED_ELEMENTS = """() => {
  const letters = 'div p span strong em del code pre a button ul ol li blockquote table thead tbody tr th td hr br'.split(' ');
  const drawn = 'svg path math semantics annotation mrow mi mo mn msup mfrac mtext mstyle mspace mover munder'.split(' ');
  const all = new Set([...letters, ...drawn, 'h1', 'h2', 'h3', 'h4', 'h5', 'h6']);
  return [...document.querySelectorAll('#conversation .text *')].flatMap((element) => [
    ...(all.has(element.localName) ? [] : [element.outerHTML]),
    ...element.getAttributeNames().filter((name) => name.startsWith('on') || name.startsWith('src')),
  ]);
}"""  # noqa: E501


class Monitor:
    """Records the effects that an attack would have: scripts, requests to other hosts, dialogs and new pages."""

    def __init__(self, page: Page, own: str) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.dialogs: list[str] = []
        page.context.on("request", lambda request: self._on_request(request.url, own))
        page.on("dialog", self._on_dialog)

    def _on_request(self, url: str, own: str) -> None:
        if not url.startswith(own):
            self.foreign.append(url)

    def _on_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def assert_no_effect(self) -> None:
        assert self.page.evaluate("[typeof owned, typeof ({}).owned]") == ["undefined", "undefined"]
        assert (self.foreign, self.dialogs) == ([], [])
        assert self.page.title() != "owned"
        assert self.page.evaluate(UNEXPECTED_ELEMENTS) == []
        assert len(self.page.context.pages) == 1


@pytest.fixture
def chat(reader: Reader, stack: Stack) -> Iterator[Chat]:
    """A chat in which no attack may have an effect, before and after a reload."""
    opened = reader.open()
    monitor = Monitor(opened.page, stack.base_url)
    yield opened
    monitor.assert_no_effect()
    opened.page.reload()
    expect(opened.rows.first).to_be_visible()
    monitor.assert_no_effect()


def test_markup_from_a_model_has_no_effect(chat: Chat, stack: Stack) -> None:
    for turn, (name, tokens) in enumerate(MARKUP.items(), 1):
        stack.upstream.answers.append(Answer(tokens=tokens))
        chat.ask(f"Try {name}")
        expect(chat.row(f"assistant-{turn}")).to_have_attribute("data-end", "stop")
    expect(chat.answer(1)).to_have_text("".join(MARKUP["a script"]))
    expect(chat.answer(turn_of("an open fence")).locator("pre")).to_have_text(
        f"<script>{RUN}</script>\nand it never ends <b>"
    )
    expect(chat.answer(turn_of("forged events"))).to_contain_text('event: end data: {"reason": "stop"} id: 9.9-9')


def turn_of(name: str) -> int:
    return [*MARKUP].index(name) + 1


def test_links_allow_only_http_and_mailto_targets(chat: Chat, stack: Stack) -> None:
    good = "[web](https://example.com/a?b#c) <mail@example.com> http://example.com/bare"
    stack.upstream.answers.append(Answer(tokens=[LINKS, "\n\n", good]))
    chat.ask("Where?")
    chat.is_done()
    links = chat.answer().locator("a")
    expect(links).to_have_count(3)
    targets = links.evaluate_all("(all) => all.map(({ href, target, rel }) => [href, target, rel])")
    safe = ["_blank", "noopener noreferrer nofollow"]
    assert targets == [
        ["https://example.com/a?b#c", *safe],
        ["mailto:mail@example.com", *safe],
        ["http://example.com/bare", *safe],
    ]


def test_image_becomes_a_link_and_is_not_fetched(chat: Chat, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=[PICTURES]))
    chat.ask("Show?")
    chat.is_done()
    expect(chat.answer().locator("img")).to_have_count(0)
    expect(chat.answer().locator("a").first).to_have_attribute("href", "http://foreign.invalid/a.png")


def test_very_long_line_leaves_the_page_usable(chat: Chat, stack: Stack) -> None:
    line = "".join(f"{number:x}" for number in range(45_000))[:200_000]
    stack.upstream.answers.append(Answer(tokens=[line]))
    chat.ask("Long?")
    chat.is_done()
    expect(chat.answer()).to_have_js_property("textContent", line)
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    chat.ask("Still there?")
    chat.shows_answer("You asked: Still there?", turn=2)


def test_bidi_controls_cannot_reorder_other_text(chat: Chat, stack: Stack) -> None:
    """Bidi controls are removed from prose, and marked in code, where they could hide its meaning (Trojan Source)."""
    stack.upstream.answers.append(
        Answer(tokens=["a \u202eb\u2066c\n\n", "`x\u202ey`\n\n", "```\nif \u2066admin\u2069:\n```"])
    )
    chat.ask("Which \u202eway?")
    chat.is_done()
    text = chat.answer().text_content() or ""
    assert BIDI.search(text) is None
    expect(chat.answer().locator("p").first).to_have_text("a bc")
    expect(chat.answer().locator("p code")).to_have_text("x⟦U+202E⟧y")
    expect(chat.answer().locator("pre")).to_have_text("if ⟦U+2066⟧admin⟦U+2069⟧:")
    assert BIDI.search(chat.page.title()) is None
    chat.page.locator(".session").hover()
    chat.page.get_by_role("button", name="Delete: ").click()
    dialog = chat.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “Which way?”? It is gone for good")


def test_text_of_a_user_is_shown_as_it_was_written(chat: Chat) -> None:
    for turn, (name, tokens) in enumerate(MARKUP.items(), 1):
        # A text box normalises line breaks.
        text = "".join(tokens).replace("\r\n", "\n").replace("\r", "\n")
        chat.ask(text)
        expect(chat.row(f"assistant-{turn}")).to_have_attribute("data-end", "stop")
        chat.shows_question(text, turn)
        assert chat.row(f"user-{turn}").locator(".text *").count() == 0, name


def test_title_is_shown_as_plain_text_everywhere(chat: Chat) -> None:
    title = "<img src=x onerror=alert(1)><script>owned=1</script>"
    chat.ask(title)
    chat.is_done()
    titles = [
        chat.page.get_by_role("heading", level=1),
        chat.page.locator("#sessions a"),
    ]
    for element in titles:
        shows(element, title)
    assert chat.page.title() == f"{title} · midsentence"
    chat.page.locator(".session").hover()
    chat.page.get_by_role("button", name="Rename: ").click()
    box = chat.page.get_by_role("textbox", name="New name")
    box.fill(f"</a></li>{title}")
    box.press("Enter")
    for element in titles:
        shows(element, f"</a></li>{title}")
    chat.page.locator(".session").hover()
    chat.page.get_by_role("button", name="Delete: ").click()
    expect(chat.page.get_by_role("dialog")).to_contain_text(f"Delete “</a></li>{title}”?")
    chat.page.keyboard.press("Escape")
    chat.page.get_by_role("searchbox").fill(f"<b>{title}")
    expect(chat.page.get_by_text(f"Nothing is called “<b>{title}”.")).to_be_visible()


def test_content_security_policy_has_no_exception(reader: Reader) -> None:
    response = reader.new_tab().goto("/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "require-trusted-types-for 'script'" in policy
    assert "trusted-types 'none'" in policy
    assert re.search(r"unsafe|\*|http|blob|nonce|sha\d", policy) is None
