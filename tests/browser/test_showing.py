import pytest
from playwright.sync_api import expect

from tests.browser.chat import EVENTS, Chat, Reader, shows, stream_of
from tests.support.processes import Stack
from tests.support.upstream import Answer

LISTEN = """() => {
  window.told = [];
  new MutationObserver(() => told.push(announcer.textContent)).observe(announcer, { childList: true });
}"""

pytestmark = pytest.mark.needs_chromium

HTML = (
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<style>body { display: none }</style>",
    "&lt;b&gt; <b>bold</b> <a href='javascript:0'>x</a>",
    "\r\n\u2028 two  spaces",
)


def test_an_answer_that_fails_keeps_its_text_and_says_why_after_a_reload_too(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Half ", "an ", "answer"], error_after=2))
    chat = reader.open()
    chat.ask("Will you finish?")
    chat.shows_answer("Half an ")
    note = chat.row("assistant-1").locator(".note")
    expect(note).to_contain_text("The answer failed: ")
    why = note.text_content()
    chat.page.reload()
    chat.shows_answer("Half an ")
    shows(note, why or "")


def test_an_answer_that_fails_without_a_word_says_why(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(status=401, body={"error": {"message": "No."}}))
    chat = reader.open()
    chat.ask("May I?")
    expect(chat.row("assistant-1").locator(".note")).to_contain_text("The answer failed: ")
    chat.shows_answer("")


def test_text_that_looks_like_html_stays_text(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=HTML))
    chat = reader.open()
    # A text box knows one kind of line break, so that piece is left to the model.
    chat.ask("".join(HTML[:-1]))
    chat.is_done()
    chat.shows_answer("".join(HTML))
    chat.shows_question("".join(HTML[:-1]))
    assert chat.rows.locator(".text *").count() == 0


def test_the_page_keeps_within_a_policy_that_allows_next_to_nothing(reader: Reader) -> None:
    """The fixture fails on a violation; here it is made sure that there is a policy to violate."""
    page = reader.blank()
    response = page.goto("/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert [part.strip() for part in policy.split(";")][:2] == ["default-src 'none'", "script-src 'self'"]
    page.evaluate("document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {}'}))")
    expect(page.locator("#status")).to_have_text("Ready.")
    assert [text for text in reader.complaints if text.startswith("style-src-elem")] == ["style-src-elem: inline "]
    reader.complaints.clear()


def test_the_demo_model_is_called_that(reader: Reader) -> None:
    question = {"turn": 1, "parent": 0, "role": "user", "text": "Who?", "end": None}
    stream = stream_of(
        ("snapshot", "1.0-0", {"session_id": "x", "state": "queued", "messages": [question]}),
        ("start", "1.1-1", {"turn": 1, "attempt": 1, "model": "demo"}),
    )
    page = reader.blank()
    page.route(EVENTS, lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    page.goto("/#0aScriptedScriptedScript00")
    expect(page.get_by_text("This is the built-in demo model.")).to_be_visible()
    expect(page.locator("#model")).to_have_text("Model: demo")


def test_a_selection_lives_while_the_answer_grows(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Copy this", " and", " more"], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Quote?")
    answer.release(1)
    chat.shows_answer("Copy this")
    chat.answer().evaluate("(element) => getSelection().setBaseAndExtent(element.firstChild, 0, element.firstChild, 4)")
    answer.release_all()
    chat.shows_answer(answer.text)
    assert chat.page.evaluate("getSelection().toString()") == "Copy"


def test_the_newest_words_are_followed_only_from_the_bottom(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=[f"line {number}\n" for number in range(200)], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Much?")
    answer.release(100)
    chat.shows_answer("".join(answer.tokens[:100]))
    assert below(chat) <= 1
    chat.page.locator("#scroller").hover()
    chat.page.mouse.wheel(0, -200)
    newest = chat.page.get_by_role("button", name="Newest words")
    expect(newest).to_be_visible()
    answer.release_all()
    chat.shows_answer(answer.text)
    assert below(chat) > 100
    newest.click()
    assert below(chat) <= 1


def test_a_screen_reader_is_told_the_turning_points_and_not_every_token(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["word "] * 20, gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.page.evaluate(LISTEN)
    chat.ask("Say it")
    for count in range(1, 20, 3):
        answer.release(3)
        chat.shows_answer("word " * (count + 2) if count < 19 else answer.text)
    answer.release_all()
    chat.is_done()
    assert chat.page.evaluate("told") == ["Answering", "Done"]
    assert chat.page.locator("#conversation[aria-live], #conversation [aria-live], #status[aria-live]").count() == 0


def below(chat: Chat) -> float:
    return chat.page.locator("#scroller").evaluate("(e) => e.scrollHeight - e.scrollTop - e.clientHeight")
