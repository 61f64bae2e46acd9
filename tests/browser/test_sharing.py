"""A shared conversation can be read live by another person, who can change nothing."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chat import Reader
from tests.support.processes import Stack
from tests.support.upstream import Answer

pytestmark = pytest.mark.needs_chromium


def test_a_shared_conversation_is_read_live_until_it_is_unshared(
    reader: Reader, stack: Stack, chromium: Browser
) -> None:
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
        # The text that was read stays visible.
        expect(guest.answer()).to_have_text("Both of us.")
    expect(chat.status).to_contain_text("Live")


def test_a_failed_share_is_reported(reader: Reader) -> None:
    chat = reader.open()
    chat.ask("Anything")
    chat.is_done()
    chat.page.route("**/share", lambda route: route.abort())
    chat.page.get_by_role("button", name="Share").click()
    expect(chat.page.get_by_role("alert")).to_contain_text("Share did not work. The server cannot be reached.")
    expect(chat.page.get_by_role("dialog")).to_have_count(0)
