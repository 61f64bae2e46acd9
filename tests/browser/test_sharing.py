"""Sharing a conversation: a guest can read it live, and do nothing else with it."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chat import Reader
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium


def test_guest_reads_a_shared_conversation_until_sharing_stops(reader: Reader, stack: Stack, chromium: Browser) -> None:
    answer = Answer(tokens=["Both ", "of ", "us."], gate=True)
    stack.upstream.answers.append(answer)
    chat = reader.open()
    chat.ask("Who reads this?")
    answer.release()
    expect(chat.answer()).to_have_text("Both")
    chat.page.get_by_role("button", name="Share").click()
    dialog = chat.page.get_by_role("dialog", name="Share")
    link = dialog.get_by_label("Link")
    expect(link).not_to_have_value("")
    address = link.input_value()
    dialog.get_by_role("button", name="Close").click()
    with chromium.new_context(base_url=stack.base_url) as context:
        guest = Reader(context).open(address)
        expect(guest.answer()).to_have_text("Both")
        expect(guest.page.get_by_text("Somebody shared this conversation with you.")).to_be_visible()
        expect(guest.page.get_by_label("Message")).to_have_count(0)
        for name in ("Share", "Edit question", "Answer again", "Stop"):
            expect(guest.page.get_by_role("button", name=name)).to_have_count(0)
        answer.release_all()
        expect(guest.answer()).to_have_text("Both of us.")
        chat.page.get_by_role("button", name="Share").click()
        expect(link).to_have_value(address)
        dialog.get_by_role("button", name="Stop sharing").click()
        expect(guest.status).to_contain_text("This conversation is not here")
        # The text stays on the screen.
        expect(guest.answer()).to_have_text("Both of us.")
    expect(chat.status).to_contain_text("Live")


def test_failed_share_shows_an_error(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Anything")
    chat.is_done()
    chat.page.route("**/share", lambda route: route.abort())
    chat.page.get_by_role("button", name="Share").click()
    expect(chat.page.get_by_role("alert")).to_contain_text("Share did not work. The server cannot be reached.")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
