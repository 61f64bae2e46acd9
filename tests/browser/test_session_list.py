"""The list of conversations: search, rename, delete, unread marks and navigation."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chat import Chat, Reader, Readers
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

LIST = re.compile(r"/sessions$")


def test_empty_list_explains_what_it_will_hold(reader: Reader) -> None:
    chat = reader.open()
    expect(chat.page.get_by_text("Nothing here yet. What you ask will be listed here.")).to_be_visible()
    expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()
    expect(items(chat)).to_have_count(0)


def test_example_question_is_sent_when_it_is_clicked(reader: Reader) -> None:
    chat = reader.open()
    chat.page.get_by_role("button", name="Write 300 words about streams.").click()
    chat.shows_question("Write 300 words about streams.")
    chat.is_done()


def test_list_shows_the_newest_conversation_first(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "Apples?")
    start_conversation(chat, "Pears?")
    expect(items(chat)).to_have_text(["Pears?", "Apples?"])
    item(chat, "Apples?").click()
    chat.shows_question("Apples?")
    chat.ask("More of them?")
    chat.shows_question("More of them?", turn=2)
    expect(items(chat)).to_have_text(["Apples?", "Pears?"])
    expect(item(chat, "Apples?")).to_have_attribute("aria-current", "page")
    expect(item(chat, "Pears?")).not_to_have_attribute("aria-current", "page")


def test_list_marks_a_running_answer_and_an_unread_one(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    answer = Answer(tokens=["Slow", "ly."], gate=True)
    stack.upstream.answers.append(answer)
    chat.ask("Slow?")
    answer.release()
    chat.shows_answer("Slow")
    new_chat(chat)
    running = row(chat, "Slow?").get_by_role("img", name="Answering")
    unread = row(chat, "Slow?").get_by_role("img", name="New answer")
    expect(running).to_be_visible()
    expect(unread).to_have_count(0)
    answer.release_all()
    expect(unread).to_be_visible()
    expect(running).to_have_count(0)
    item(chat, "Slow?").click()
    chat.shows_answer("Slowly.")
    expect(unread).to_have_count(0)
    new_chat(chat)
    expect(item(chat, "Slow?")).to_be_visible()
    expect(unread).to_have_count(0)


def test_list_does_not_mark_a_read_answer(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "Watched?")
    new_chat(chat)
    with chat.page.expect_response(LIST):
        chat.page.reload()
    expect(item(chat, "Watched?")).to_be_visible()
    expect(row(chat, "Watched?").get_by_role("img")).to_have_count(0)


def test_search_matches_words_in_any_order(reader: Reader) -> None:
    chat = reader.open()
    for question in ("Red apples and pears", "Green APPLES", "今天的天气"):
        start_conversation(chat, question)
    box = chat.page.get_by_role("searchbox", name="Search conversations")
    box.fill("apples")
    expect(items(chat)).to_have_text(["Green APPLES", "Red apples and pears"])
    box.fill("pears red")
    expect(items(chat)).to_have_text(["Red apples and pears"])
    box.fill("天气")
    expect(items(chat)).to_have_text(["今天的天气"])
    box.fill("plums")
    expect(items(chat)).to_have_count(0)
    expect(chat.page.get_by_text("Nothing is called “plums”.")).to_be_visible()
    box.fill("")
    expect(items(chat)).to_have_count(3)


@pytest.mark.parametrize("way", ["Enter", "blur"])
def test_new_name_reaches_every_tab_and_device_and_survives_a_reload(
    reader: Reader, readers: Readers, way: str
) -> None:
    chat = reader.open()
    start_conversation(chat, "Old name")
    path = f"/#{chat.page.url.partition('#')[2]}"
    others = [reader.open(path), readers(same_as=reader).open(path)]
    for other in others:
        expect(heading(other.page)).to_have_text("Old name")
    box = start_rename(chat, "Old name")
    box.fill("  New   name ")
    if way == "Enter":
        box.press("Enter")
    else:
        box.blur()
    for each in (chat, *others):
        expect(heading(each.page)).to_have_text("New name")
        expect(items(each)).to_have_text(["New name"])
        expect(each.page).to_have_title("New name · midsentence")
    chat.page.reload()
    expect(heading(chat.page)).to_have_text("New name")
    expect(items(chat)).to_have_text(["New name"])


@pytest.mark.parametrize("typed", ["", "Old name", None])
def test_unchanged_name_is_not_sent(reader: Reader, typed: str | None) -> None:
    """The server refuses an empty name. With None, Escape cancels the rename."""
    chat = reader.open()
    start_conversation(chat, "Old name")
    sent: list[str] = []
    chat.page.on("request", lambda request: sent.append(request.method))
    box = start_rename(chat, "Old name")
    box.fill("Other" if typed is None else typed)
    box.press("Escape" if typed is None else "Enter")
    expect(box).to_have_count(0)
    expect(items(chat)).to_have_text(["Old name"])
    assert "PATCH" not in sent


def test_focus_returns_to_the_button_after_a_rename(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "Old name")
    start_rename(chat, "Old name").press("Escape")
    expect(row(chat, "Old name").get_by_role("button", name="Rename: ")).to_be_focused()
    box = start_rename(chat, "Old name")
    box.fill("New name")
    box.press("Enter")
    expect(row(chat, "New name").get_by_role("button", name="Rename: ")).to_be_focused()


def test_conversation_is_deleted_only_after_confirmation(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "Keep me")
    press_delete(chat, "Keep me")
    dialog = chat.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “Keep me”? It is gone for good, on all your devices.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    press_delete(chat, "Keep me")
    chat.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    chat.page.reload()
    expect(items(chat)).to_have_text(["Keep me"])


def test_deleted_conversation_disappears_from_every_tab_and_device(reader: Reader, readers: Readers) -> None:
    chat = reader.open()
    start_conversation(chat, "Delete me")
    path = f"/#{chat.page.url.partition('#')[2]}"
    others = [reader.open(path), readers(same_as=reader).open(path)]
    for other in others:
        other.shows_question("Delete me")
    press_delete(chat, "Delete me")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(items(chat)).to_have_count(0)
    expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()
    for other in others:
        expect(other.status).to_have_text(
            "This conversation is not here: it was deleted, it expired, or it belongs to somebody else."
        )
        expect(items(other)).to_have_count(0)
        other.text_box.fill("Lost?")
        expect(other.page.get_by_role("button", name="Send")).to_be_disabled()
    start_conversation(others[0], "And on")


def test_deleting_another_conversation_keeps_the_open_one(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "One")
    start_conversation(chat, "Two")
    press_delete(chat, "One")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(items(chat)).to_have_text(["Two"])
    chat.shows_question("Two")


def test_conversation_of_another_user_is_not_found(reader: Reader, readers: Readers) -> None:
    chat = reader.open()
    start_conversation(chat, "Mine")
    stranger = readers().open(f"/#{chat.page.url.partition('#')[2]}")
    expect(stranger.status).to_contain_text("This conversation is not here")
    expect(stranger.rows).to_have_count(0)
    expect(items(stranger)).to_have_count(0)


def test_failed_list_shows_an_error_and_leaves_the_conversation_usable(reader: Reader) -> None:
    page = reader.new_tab()
    broken = True

    def answer(route: Route) -> None:
        if broken and route.request.method == "GET":
            route.fulfill(status=500, body="<h1>Oops</h1>")
        else:
            route.fallback()

    page.route(LIST, answer)
    page.goto("/")
    chat = Chat(page)
    note = page.get_by_role("alert")
    expect(note).to_have_text("The list could not be loaded. The server answered 500.")
    chat.ask("Does it work?")
    chat.shows_question("Does it work?")
    chat.is_done()
    broken = False
    chat.ask("Still?")
    chat.shows_question("Still?", turn=2)
    expect(items(chat)).to_have_text(["Does it work?"])
    expect(note).to_have_count(0)


def test_back_and_forward_switch_between_conversations(reader: Reader) -> None:
    chat = reader.open()
    start_conversation(chat, "One")
    start_conversation(chat, "Two")
    item(chat, "One").click()
    chat.shows_question("One")
    chat.page.go_back()
    chat.shows_question("Two")
    chat.page.go_back()
    expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()
    chat.page.go_back()
    chat.shows_question("One")
    chat.page.go_forward()
    expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()
    chat.page.go_forward()
    chat.shows_question("Two")


def test_invalid_link_shows_that_there_is_no_conversation(reader: Reader) -> None:
    for fragment in ("nothing", "%E0%A4%A", "<b>", "../healthz", ".", "../.."):
        chat = reader.open(f"/#{fragment}")
        expect(chat.status).to_contain_text("This conversation is not here")
        chat.page.close()


def test_hidden_list_stays_hidden_after_a_reload(reader: Reader) -> None:
    chat = reader.open()
    chat.page.get_by_role("button", name="Hide the conversations").click()
    expect(chat.page.locator("#sidebar")).to_have_count(0)
    chat.page.reload()
    expect(chat.page.get_by_role("button", name="Show the conversations")).to_be_visible()
    expect(chat.page.locator("#sidebar")).to_have_count(0)


def start_conversation(chat: Chat, question: str) -> None:
    if chat.rows.count() > 0:
        new_chat(chat)
    chat.ask(question)
    chat.shows_question(question)
    chat.is_done()
    expect(item(chat, question)).to_be_visible()


def new_chat(chat: Chat) -> None:
    chat.page.get_by_role("link", name="New chat").click()
    expect(chat.rows).to_have_count(0)


def items(chat: Chat) -> Locator:
    return chat.page.locator("#sessions a")


def item(chat: Chat, title: str) -> Locator:
    return chat.page.locator("#sessions").get_by_role("link", name=title, exact=True)


def row(chat: Chat, title: str) -> Locator:
    return chat.page.locator("#sessions li").filter(has=chat.page.get_by_role("link", name=title, exact=True))


def start_rename(chat: Chat, title: str) -> Locator:
    """Open the text box for a new name."""
    row(chat, title).hover()
    row(chat, title).get_by_role("button", name="Rename: ").click()
    box = chat.page.get_by_role("textbox", name="New name")
    expect(box).to_be_focused()
    return box


def press_delete(chat: Chat, title: str) -> None:
    row(chat, title).hover()
    row(chat, title).get_by_role("button", name="Delete: ").click()


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)
