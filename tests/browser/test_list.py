"""The list of conversations: order, marks, search, names, deletion."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chat import Chat, Reader, Readers
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium

LIST = re.compile(r"/sessions$")


def test_an_empty_list_says_what_it_will_hold(reader: Reader) -> None:
    chat = reader.open()
    expect(chat.page.get_by_text("Nothing here yet. What you ask will be listed here.")).to_be_visible()
    expect(chat.page.get_by_role("heading", name="Ask something.")).to_be_visible()
    expect(items(chat)).to_have_count(0)


def test_an_example_of_the_empty_page_asks_it(reader: Reader) -> None:
    chat = reader.open()
    chat.page.get_by_role("button", name="Write 300 words about streams.").click()
    chat.shows_question("Write 300 words about streams.")
    chat.is_done()


def test_conversations_are_listed_newest_first(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "Apples?")
    begin(chat, "Pears?")
    expect(items(chat)).to_have_text(["Pears?", "Apples?"])
    item(chat, "Apples?").click()
    chat.shows_question("Apples?")
    chat.ask("More of them?")
    chat.shows_question("More of them?", turn=2)
    expect(items(chat)).to_have_text(["Apples?", "Pears?"])
    expect(item(chat, "Apples?")).to_have_attribute("aria-current", "page")
    expect(item(chat, "Pears?")).not_to_have_attribute("aria-current", "page")


def test_another_conversations_answer_is_marked_while_it_runs_and_until_it_is_seen(
    reader: Reader, stack: Stack
) -> None:
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


def test_a_watched_answer_is_not_marked(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "Watched?")
    new_chat(chat)
    with chat.page.expect_response(LIST):
        chat.page.reload()
    expect(item(chat, "Watched?")).to_be_visible()
    expect(row(chat, "Watched?").get_by_role("img")).to_have_count(0)


def test_conversations_are_found_by_their_words_in_any_order(reader: Reader) -> None:
    chat = reader.open()
    for question in ("Red apples and pears", "Green APPLES", "今天的天气"):
        begin(chat, question)
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
def test_a_new_name_appears_in_every_tab_and_device_and_after_a_reload(
    reader: Reader, readers: Readers, way: str
) -> None:
    chat = reader.open()
    begin(chat, "Old name")
    path = f"/#{chat.page.url.partition('#')[2]}"
    others = [reader.open(path), readers(same_as=reader).open(path)]
    for other in others:
        expect(heading(other.page)).to_have_text("Old name")
    box = rename(chat, "Old name")
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
def test_an_unchanged_name_is_not_sent(reader: Reader, typed: str | None) -> None:
    """An empty name would be refused; None stands for Escape."""
    chat = reader.open()
    begin(chat, "Old name")
    sent: list[str] = []
    chat.page.on("request", lambda request: sent.append(request.method))
    box = rename(chat, "Old name")
    box.fill("Other" if typed is None else typed)
    box.press("Escape" if typed is None else "Enter")
    expect(box).to_have_count(0)
    expect(items(chat)).to_have_text(["Old name"])
    assert "PATCH" not in sent


def test_the_focus_returns_to_the_renamed_conversation(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "Old name")
    rename(chat, "Old name").press("Escape")
    expect(row(chat, "Old name").get_by_role("button", name="Rename: ")).to_be_focused()
    box = rename(chat, "Old name")
    box.fill("New name")
    box.press("Enter")
    expect(row(chat, "New name").get_by_role("button", name="Rename: ")).to_be_focused()


def test_a_conversation_is_deleted_only_after_confirmation(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "Keep me")
    remove(chat, "Keep me")
    dialog = chat.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “Keep me”? It is gone for good, on all your devices.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    remove(chat, "Keep me")
    chat.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    chat.page.reload()
    expect(items(chat)).to_have_text(["Keep me"])


def test_a_deleted_conversation_disappears_everywhere_and_open_tabs_say_so(reader: Reader, readers: Readers) -> None:
    chat = reader.open()
    begin(chat, "Delete me")
    path = f"/#{chat.page.url.partition('#')[2]}"
    others = [reader.open(path), readers(same_as=reader).open(path)]
    for other in others:
        other.shows_question("Delete me")
    remove(chat, "Delete me")
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
    begin(others[0], "And on")


def test_another_conversation_can_be_deleted_while_one_is_open(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "One")
    begin(chat, "Two")
    remove(chat, "One")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(items(chat)).to_have_text(["Two"])
    chat.shows_question("Two")


def test_another_owners_conversation_is_not_found(reader: Reader, readers: Readers) -> None:
    chat = reader.open()
    begin(chat, "Mine")
    stranger = readers().open(f"/#{chat.page.url.partition('#')[2]}")
    expect(stranger.status).to_contain_text("This conversation is not here")
    expect(stranger.rows).to_have_count(0)
    expect(items(stranger)).to_have_count(0)


def test_a_list_that_cannot_be_loaded_does_not_stop_the_conversation(reader: Reader) -> None:
    page = reader.blank()
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


def test_back_and_forward_move_between_conversations(reader: Reader) -> None:
    chat = reader.open()
    begin(chat, "One")
    begin(chat, "Two")
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


def test_a_link_to_no_conversation_is_reported(reader: Reader) -> None:
    for fragment in ("nothing", "%E0%A4%A", "<b>", "../healthz", ".", "../.."):
        chat = reader.open(f"/#{fragment}")
        expect(chat.status).to_contain_text("This conversation is not here")
        chat.page.close()


def test_a_hidden_list_stays_hidden(reader: Reader) -> None:
    chat = reader.open()
    chat.page.get_by_role("button", name="Hide the conversations").click()
    expect(chat.page.locator("#sidebar")).to_have_count(0)
    chat.page.reload()
    expect(chat.page.get_by_role("button", name="Show the conversations")).to_be_visible()
    expect(chat.page.locator("#sidebar")).to_have_count(0)


def begin(chat: Chat, question: str) -> None:
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


def rename(chat: Chat, title: str) -> Locator:
    """Begin to rename, and return the text box."""
    row(chat, title).hover()
    row(chat, title).get_by_role("button", name="Rename: ").click()
    box = chat.page.get_by_role("textbox", name="New name")
    expect(box).to_be_focused()
    return box


def remove(chat: Chat, title: str) -> None:
    row(chat, title).hover()
    row(chat, title).get_by_role("button", name="Delete: ").click()


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)
