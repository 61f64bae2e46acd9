"""Choosing among several models."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import MESSAGES, Chat, Reader, Readers, fail_posts, shows
from tests.conftest import running
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.needs_chromium

MODELS = "**/models"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    with Upstream() as upstream:
        models = directory / "models.toml"
        models.write_text(
            "".join(f'[[models]]\nname = "{name}"\nbase_url = "{upstream.url}"\n' for name in ("alpha", "beta"))
        )
        settings = {"MIDSENTENCE_MODEL": "", "MIDSENTENCE_MODELS": str(models)}
        yield from running(Stack(directory, upstream, settings=settings))


def choice(chat: Chat) -> Locator:
    return chat.page.get_by_role("combobox", name="Model")


def by(chat: Chat, turn: int) -> Locator:
    """The model's name below an answer."""
    return chat.row(f"assistant-{turn}").locator(".by")


def asked_models(stack: Stack) -> list[str]:
    return [request.body["model"] for request in stack.upstream.requests]


def test_chosen_model_answers_and_is_remembered(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    expect(choice(chat)).to_have_value("alpha")
    chat.ask("One?")
    shows(by(chat, 1), "alpha")
    choice(chat).select_option("beta")
    chat.ask("Two?")
    shows(by(chat, 2), "beta")
    assert asked_models(stack) == ["alpha", "beta"]
    chat.page.reload()
    other = reader.open()
    for each in (chat, other):
        expect(choice(each)).to_have_value("beta")
    shows(by(chat, 1), "alpha")
    shows(by(chat, 2), "beta")


def test_model_is_chosen_by_keyboard(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    expect(choice(chat)).to_have_value("alpha")
    expect(chat.text_box).to_be_focused()
    chat.page.keyboard.press("Tab")
    expect(choice(chat)).to_be_focused()
    chat.page.keyboard.press("ArrowDown")
    expect(choice(chat)).to_have_value("beta")
    chat.page.keyboard.press("Shift+Tab")
    chat.page.keyboard.type("Well?")
    chat.page.keyboard.press("Enter")
    shows(by(chat, 1), "beta")


def test_single_model_shows_no_choice(reader: Reader) -> None:
    chat = Chat(reader.new_tab())
    chat.page.route(MODELS, lambda route: route.fulfill(json={"models": [{"name": "alpha", "default": True}]}))
    with chat.page.expect_response(MODELS):
        chat.page.goto("/")
    chat.ask("Well?")
    chat.is_done()
    expect(choice(chat)).to_have_count(0)
    expect(by(chat, 1)).to_have_count(0)
    expect(chat.page.locator("#model")).to_have_text("alpha")


def test_question_is_asked_again_and_edited_with_the_chosen_model(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("Well?")
    shows(by(chat, 1), "alpha")
    choice(chat).select_option("beta")
    chat.row("assistant-1").get_by_role("button", name="Answer again").click()
    shows(by(chat, 2), "beta")
    chat.row("user-2").get_by_role("button", name="Edit question").click()
    chat.page.keyboard.type(" Really?")
    chat.page.keyboard.press("Enter")
    shows(by(chat, 3), "beta")
    assert asked_models(stack) == ["alpha", "beta", "beta"]


def test_unsent_message_keeps_the_model_that_it_was_written_for(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    chat.ask("One?")
    shows(by(chat, 1), "alpha")
    fail_posts(chat.page, MESSAGES)
    choice(chat).select_option("beta")
    chat.ask("Two?")
    expect(chat.unsent.locator(".note")).to_contain_text("Not sent.")
    choice(chat).select_option("alpha")
    chat.page.unroute(MESSAGES)
    chat.page.get_by_role("button", name="Try again").click()
    shows(by(chat, 2), "beta")
    assert asked_models(stack) == ["alpha", "beta"]


def test_message_for_a_model_that_is_not_offered_any_more_is_sent_with_another(reader: Reader, stack: Stack) -> None:
    chat = Chat(reader.new_tab())
    names = [{"name": name, "default": name == "alpha"} for name in ("alpha", "gone", "beta")]
    chat.page.route(MODELS, lambda route: route.fulfill(json={"models": names}))
    chat.page.goto("/")
    choice(chat).select_option("gone")
    chat.page.unroute(MODELS)
    chat.ask("Well?")
    note = "Not sent. This model is not offered any more; send it again with another."
    shows(chat.unsent.locator(".note"), note)
    shows(chat.unsent.locator(".text"), "Well?")
    expect(choice(chat)).to_have_value("alpha")
    choice(chat).select_option("beta")
    chat.page.get_by_role("button", name="Try again").click()
    shows(by(chat, 1), "beta")
    chat.shows_question("Well?")
    assert asked_models(stack) == ["beta"]


def test_remembered_model_that_is_not_offered_any_more_is_forgotten(reader: Reader, stack: Stack) -> None:
    chat = reader.open()
    expect(choice(chat)).to_have_value("alpha")
    chat.page.evaluate("localStorage.setItem('midsentence.preferences', JSON.stringify({ model: 'gone' }))")
    chat.page.reload()
    expect(choice(chat)).to_have_value("alpha")
    wait_until(
        lambda: '"model":null' in chat.page.evaluate("localStorage.getItem('midsentence.preferences')"),
        description="the name is forgotten",
    )
    chat.ask("Well?")
    shows(by(chat, 1), "alpha")
    assert chat.page.locator(".failure").count() == 0


def test_choice_is_not_shown_to_readers_of_a_shared_session(reader: Reader, readers: Readers, stack: Stack) -> None:
    stack.upstream.answers.append(Answer(tokens=["So."]))
    chat = reader.open()
    chat.ask("Well?")
    shows(by(chat, 1), "alpha")
    chat.page.get_by_role("button", name="Share").click()
    link = chat.page.get_by_role("textbox", name="Link")
    expect(link).not_to_have_value("")
    guest = readers().open(link.input_value())
    guest.shows_answer("So.")
    shows(by(guest, 1), "alpha")
    expect(choice(guest)).to_have_count(0)
