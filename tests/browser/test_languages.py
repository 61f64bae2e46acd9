"""English and 简体中文."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat, Reader, Readers
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

LOOK = """() => {
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const parent = node.parentElement;
    // What was asked and answered is in its own language; so are the languages' own names.
    if (parent.closest('.text, .sessions a, header h1, #model, option[lang], script, noscript, style') === null) words.push(node.data);
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    if (element.matches('.sessions a')) continue;
    for (const name of ['aria-label', 'title', 'placeholder']) words.push(element.getAttribute(name) ?? '');
  }
  return words.map((text) => text.trim()).filter((text) => text !== '');
}"""  # noqa: E501
# Names and keyboard keys stay untranslated.
SAME_EVERYWHERE = re.compile(r"\b(midsentence|mid|sentence|Markdown|Enter|Shift|Esc|Ctrl|K|O)\b|TITLE")
LATIN = re.compile(r"[A-Za-z]")
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("locale", "lang", "greeting"),
    [
        ("zh-CN", "zh-CN", "问点什么吧。"),
        ("zh-TW", "zh-CN", "问点什么吧。"),
        ("en-GB", "en", "Ask something."),
        ("fr-FR", "en", "Ask something."),
    ],
)
def test_the_page_uses_the_browsers_language(readers: Readers, locale: str, lang: str, greeting: str) -> None:
    page = readers(locale=locale).open().page
    expect(page.get_by_role("heading", name=greeting)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", lang)


def test_a_chosen_language_is_kept_and_spoken_by_other_tabs_at_once(reader: Reader) -> None:
    page, other = reader.open().page, reader.open().page
    page.get_by_role("combobox", name="Language").select_option("简体中文")
    for each in (page, other):
        expect(each.get_by_role("heading", name="问点什么吧。")).to_be_visible()
        expect(each.locator("html")).to_have_attribute("lang", "zh-CN")
    page.reload()
    expect(page.get_by_role("heading", name="问点什么吧。")).to_be_visible()
    other.get_by_role("combobox", name="语言").select_option("English")
    for each in (page, other):
        expect(each.get_by_role("heading", name="Ask something.")).to_be_visible()
        expect(each.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize(("locale", "foreign"), [("zh-CN", LATIN), ("en", HAN)], ids=["Chinese", "English"])
def test_every_word_of_the_page_is_in_its_language(
    readers: Readers, stack: Stack, locale: str, foreign: re.Pattern[str]
) -> None:
    page = readers(locale=locale).blank()
    page.goto("/")
    expect(page.locator("#welcome")).to_be_visible()
    said = words(page)
    stack.upstream.answers.extend(
        [
            Answer(reasoning=["1"], tokens=["```\n2\n```"]),
            Answer(tokens=["3"], error_after=1),
            Answer(tokens=["4"], finish="length"),
            Answer(tokens=["5", "6"], gate=True),
        ]
    )
    for turn in (1, 2, 3):
        ask(page, f"{turn}?")
        expect(page.locator(f'[data-row="assistant-{turn}"]')).not_to_have_attribute("data-end", "")
    page.locator(".reasoning summary").click()
    said += words(page)
    page.locator('[data-row="user-2"] .actions button').first.click()
    said += words(page)
    page.keyboard.press("Escape")
    for text in ("4?", "5?"):
        ask(page, text)
    expect(page.locator('[data-row^="queued-"]')).to_have_count(1)
    said += words(page)
    page.locator(".composer .stop").click()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog")).to_be_visible()
    said += words(page)
    page.keyboard.press("Escape")
    page.locator(".session").hover()
    page.locator(".session-actions button").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    said += words(page, "1?")
    page.keyboard.press("Escape")
    page.locator("#search").fill("-")
    said += words(page)
    page.locator("header button").nth(1).click()
    link = page.locator(".share-link input")
    expect(link).not_to_have_value("")
    said += words(page)
    page.goto(link.input_value())
    expect(page.locator(".shared")).to_be_visible()
    said += words(page)
    page.goto("/#0aNothingNothingNothing000")
    expect(page.locator("#status")).to_have_attribute("data-connection", "gone")
    said += words(page)
    assert len(set(said)) > 50
    assert [text for text in said if foreign.search(SAME_EVERYWHERE.sub("", text))] == []


def test_a_proxy_that_answers_in_the_servers_place_is_told_of_in_chinese(readers: Readers) -> None:
    page = readers(locale="zh-CN").blank()
    page.route("**/sessions", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.goto("/")
    expect(page.get_by_role("alert")).to_have_text("对话列表加载失败。服务器的应答是 502。")


def test_an_unreachable_model_is_reported_in_chinese(readers: Readers, stack: Stack) -> None:
    chat = Chat(readers(locale="zh-CN").blank())
    chat.page.goto("/")
    stack.upstream.answers.append(Answer(status=401, body={"error": {"message": "No such key."}}))
    ask(chat.page, "好吗？")
    note = chat.row("assistant-1").locator(".note")
    expect(note).to_have_text("回答失败：模型服务商拒绝了密钥。")


def test_chinese_emphasis_needs_no_spaces_and_is_set_as_chinese(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["**注意：**", "请先阅读。", "**“这个”**很重要。"]))
    chat = reader.open()
    chat.ask("怎么办？")
    chat.shows_answer("注意：请先阅读。“这个”很重要。")
    expect(chat.answer().locator("strong")).to_have_text(["注意：", "“这个”"])
    expect(chat.answer()).to_have_attribute("lang", "zh")


def test_an_unknown_stored_language_does_not_break_the_page(reader: Reader) -> None:
    """The stored value may come from another version of the page, or have been edited."""
    chat = reader.open()
    for kept in ('{"language": "tlh", "theme": "sepia"}', '"en"', "[]", "null", "{"):
        chat.page.evaluate("(kept) => localStorage.setItem('midsentence.preferences', kept)", kept)
        chat.page.reload()
        expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()


def ask(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def words(page: Page, *titles: str) -> list[str]:
    said: list[str] = page.evaluate(LOOK)
    for title in titles:
        said = [text.replace(title, "TITLE") for text in said]
    return said
