import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ASKS, MESSAGES, Chat, Reader, fail_posts, keys_of, lose_replies, shows, times_asked
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium


def test_asks_and_watches_the_answer_type_itself(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["Cold", " and", " clear", "."], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("How is the night?")
    chat.shows_question("How is the night?")
    expect(chat.status).to_have_text("Live. Answering…")
    for count in range(1, 4):
        answer.release()
        chat.shows_answer("".join(answer.tokens[:count]))
    answer.release_all()
    chat.shows_answer(answer.text)
    chat.is_done()


def test_the_model_that_answers_is_named(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Who are you?")
    chat.is_done()
    expect(chat.page.locator("#model")).to_contain_text("Model: ")


def test_the_second_question_follows_the_first_answer(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.extend([Answer(tokens=["One"]), Answer(tokens=["Two"])])
    chat = reader.open()
    chat.ask("First?")
    chat.shows_answer("One")
    chat.is_done()
    chat.ask("Second?")
    chat.shows_question("Second?", turn=2)
    chat.shows_answer("Two", turn=2)
    assert chat.rows.count() == 4


def test_shift_and_enter_begin_a_new_line(reader: Reader) -> None:
    chat = reader.open()
    chat.text_box.press_sequentially("one")
    chat.text_box.press("Shift+Enter")
    chat.text_box.press_sequentially("two")
    expect(chat.text_box).to_have_value("one\ntwo")
    chat.text_box.press("Enter")
    chat.shows_question("one\ntwo")


def test_blank_text_asks_nothing(reader: Reader) -> None:
    chat = reader.open()
    keys = keys_of(chat.page)
    chat.ask(" \n ")
    chat.ask("Something")
    chat.is_done()
    assert len(keys) == 1


def choose_by_enter(page: Page, typed: str, chosen: str) -> None:
    """What an input method does to a page: a composition, an Enter that is not one, the word."""
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    steps: list[tuple[str, dict[str, object]]] = [
        ("imeSetComposition", {"text": typed, "selectionStart": len(typed), "selectionEnd": len(typed)}),
        ("dispatchKeyEvent", {"type": "rawKeyDown", **enter}),
        ("insertText", {"text": chosen}),
        ("dispatchKeyEvent", {"type": "keyUp", **enter}),
    ]
    keyboard = page.context.new_cdp_session(page)
    for name, what in steps:
        keyboard.send(f"Input.{name}", what)  # pyright: ignore[reportUnknownMemberType]


def test_the_enter_that_chooses_a_word_in_an_input_method_does_not_send(reader: Reader) -> None:
    chat = reader.open()
    keys = keys_of(chat.page)
    chat.text_box.focus()
    choose_by_enter(chat.page, "ni", "你")
    expect(chat.text_box).to_have_value("你")
    chat.text_box.press_sequentially("好")
    chat.text_box.press("Enter")
    chat.shows_question("你好")
    assert len(keys) == 1


def test_a_draft_survives_a_reload_until_it_is_sent(reader: Reader) -> None:
    chat = reader.open()
    chat.text_box.press_sequentially("half a thou")
    chat.page.reload()
    expect(chat.text_box).to_have_value("half a thou")
    chat.text_box.press("Enter")
    chat.is_done()
    chat.page.reload()
    chat.shows_question("half a thou")
    expect(chat.text_box).to_have_value("")


def test_drafts_of_two_conversations_do_not_mix(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    chat.text_box.fill("for the first")
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.text_box).to_have_value("")
    chat.page.go_back()
    expect(chat.text_box).to_have_value("for the first")


def test_my_conversations_are_listed_and_lead_back(reader: Reader, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["Here"]))
    chat = reader.open()
    chat.ask("Where was it?")
    chat.shows_answer("Here")
    address = chat.page.url
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.rows).to_have_count(0)
    chat.page.get_by_role("link", name="Where was it?").click()
    chat.shows_answer("Here")
    assert address == chat.page.url


def not_sent(chat: Chat) -> None:
    expect(chat.rows.last.locator(".note")).to_contain_text("Not sent: ")


def test_a_message_that_could_not_be_sent_is_kept_and_sent_again_under_its_key(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    keys = keys_of(chat.page)
    fail_posts(chat.page, ASKS)
    chat.ask("Do you hear me?")
    not_sent(chat)
    chat.page.reload()
    not_sent(chat)
    shows(chat.rows.last.locator(".text"), "Do you hear me?")
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("Do you hear me?")
    chat.is_done()
    expect(chat.rows).to_have_count(2)
    assert [len(set(keys)), times_asked(stack, "Do you hear me?")] == [1, 1]


def test_a_first_message_whose_reply_was_lost_is_not_asked_twice(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    lose_replies(chat.page, ASKS)
    chat.ask("Once?")
    not_sent(chat)
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.is_done()
    expect(chat.rows).to_have_count(2)
    assert times_asked(stack, "Once?") == 1


def test_a_later_message_whose_reply_was_lost_shows_up_by_itself(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("First?")
    chat.is_done()
    lose_replies(chat.page, MESSAGES)
    chat.ask("Second?")
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
    assert times_asked(stack, "Second?") == 1


def test_a_message_that_was_not_sent_can_be_taken_back(reader: Reader) -> None:
    chat = reader.open()
    fail_posts(chat.page, ASKS)
    chat.ask("Rather not")
    not_sent(chat)
    chat.page.get_by_role("button", name="Take back").click()
    expect(chat.rows).to_have_count(0)
    expect(chat.text_box).to_have_value("Rather not")


def test_messages_keep_their_order_behind_one_that_failed(reader: Reader) -> None:
    chat = reader.open()
    fail_posts(chat.page, ASKS)
    chat.ask("First?")
    not_sent(chat)
    chat.ask("Second?")
    expect(chat.rows.last.locator(".note")).to_have_text("Not sent yet")
    chat.page.unroute_all()
    chat.page.get_by_role("button", name="Try again").click()
    chat.shows_question("First?")
    chat.shows_question("Second?", turn=2)
    chat.is_done()
    expect(chat.rows).to_have_count(4)
