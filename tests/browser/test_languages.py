"""The languages of the page: English and 简体中文."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat, Reader, Readers
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

VISIBLE_TEXTS = """() => {
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const parent = node.parentElement;
    // Messages and the names of languages may be in another language.
    if (parent.closest('.text, .sessions a, header h1, #model, option[lang], script, noscript, style') === null) words.push(node.data);
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    if (element.matches('.sessions a')) continue;
    for (const name of ['aria-label', 'title', 'placeholder']) words.push(element.getAttribute(name) ?? '');
  }
  return words.map((text) => text.trim()).filter((text) => text !== '');
}"""  # noqa: E501
# Names, keys of the keyboard, and the words of the model's provider.
SAME_EVERYWHERE = re.compile(
    r"\b(midsentence|mid|sentence|Markdown|Enter|Shift|Esc|Ctrl|K|O)\b|TITLE|The scripted model broke\."
)
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
def test_page_uses_the_language_of_the_browser(readers: Readers, locale: str, lang: str, greeting: str) -> None:
    page = readers(locale=locale).open().page
    expect(page.get_by_role("heading", name=greeting)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", lang)


def test_chosen_language_is_kept_and_applied_to_other_tabs_at_once(reader: Reader) -> None:
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
def test_page_contains_no_text_in_another_language(
    readers: Readers, stack: Stack, locale: str, foreign: re.Pattern[str]
) -> None:
    page = readers(locale=locale).new_tab()
    page.goto("/")
    expect(page.locator("#welcome")).to_be_visible()
    texts = visible_texts(page)
    stack.upstream.answers.extend(
        [
            Answer(reasoning=["1"], tokens=["```\n2\n```"]),
            Answer(tokens=["3"], error_after=1),
            Answer(tokens=["4"], finish="length"),
            Answer(tokens=["5", "6"], gate=True),
        ]
    )
    for turn in (1, 2, 3):
        send(page, f"{turn}?")
        expect(page.locator(f'[data-row="assistant-{turn}"]')).not_to_have_attribute("data-end", "")
    page.locator(".reasoning summary").click()
    texts += visible_texts(page)
    page.locator('[data-row="user-2"] .actions button').first.click()
    texts += visible_texts(page)
    page.keyboard.press("Escape")
    for text in ("4?", "5?"):
        send(page, text)
    expect(page.locator('[data-row^="queued-"]')).to_have_count(1)
    texts += visible_texts(page)
    page.locator(".composer .stop").click()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog")).to_be_visible()
    texts += visible_texts(page)
    page.keyboard.press("Escape")
    page.locator(".session").hover()
    page.locator(".session-actions button").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    texts += visible_texts(page, "1?")
    page.keyboard.press("Escape")
    page.locator("#search").fill("-")
    texts += visible_texts(page)
    page.locator("header button").nth(1).click()
    link = page.locator(".share-link input")
    expect(link).not_to_have_value("")
    texts += visible_texts(page)
    page.goto(link.input_value())
    expect(page.locator(".shared")).to_be_visible()
    texts += visible_texts(page)
    page.goto("/#0aNothingNothingNothing000")
    expect(page.locator("#status")).to_have_attribute("data-connection", "gone")
    texts += visible_texts(page)
    assert len(set(texts)) > 50
    assert [text for text in texts if foreign.search(SAME_EVERYWHERE.sub("", text))] == []


def test_proxy_error_is_shown_in_chinese(readers: Readers) -> None:
    page = readers(locale="zh-CN").new_tab()
    page.route("**/sessions", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.goto("/")
    expect(page.get_by_role("alert")).to_have_text("对话列表加载失败。服务器的应答是 502。")


def test_model_error_is_shown_in_chinese(readers: Readers, stack: Stack) -> None:
    chat = Chat(readers(locale="zh-CN").new_tab())
    chat.page.goto("/")
    stack.upstream.answers.append(Answer(status=401, body={"error": {"message": "No such key."}}))
    send(chat.page, "好吗？")
    note = chat.row("assistant-1").locator(".note")
    expect(note).to_have_text("回答失败：模型服务商拒绝了密钥。（No such key.）")


def test_chinese_emphasis_needs_no_spaces_and_is_marked_as_chinese(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["**注意：**", "请先阅读。", "**“这个”**很重要。"]))
    chat = reader.open()
    chat.ask("怎么办？")
    chat.shows_answer("注意：请先阅读。“这个”很重要。")
    expect(chat.answer().locator("strong")).to_have_text(["注意：", "“这个”"])
    expect(chat.answer()).to_have_attribute("lang", "zh")


def test_invalid_stored_preferences_do_not_break_the_page(reader: Reader) -> None:
    """Another version of the page or an extension may have stored them."""
    chat = reader.open()
    for kept in ('{"language": "tlh", "theme": "sepia"}', '"en"', "[]", "null", "{"):
        chat.page.evaluate("(kept) => localStorage.setItem('midsentence.preferences', kept)", kept)
        chat.page.reload()
        expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()


def send(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def visible_texts(page: Page, *titles: str) -> list[str]:
    texts: list[str] = page.evaluate(VISIBLE_TEXTS)
    for title in titles:
        texts = [text.replace(title, "TITLE") for text in texts]
    return texts
