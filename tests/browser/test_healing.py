"""An answer that breaks off at its provider and is taken up again, as the page shows it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.chat import Chat, Reader, shows
from tests.conftest import running
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream

pytestmark = pytest.mark.needs_chromium

AGAIN = "Live · The answer broke off. It is being written again."
OLD = [f"old {number} " for number in range(60)]
NEW = [f"new {number} " for number in range(90)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two models of one provider; the second is asked where the first gives no answer."""
    directory = tmp_path_factory.mktemp("stack")
    with Upstream() as upstream:
        models = directory / "models.toml"
        models.write_text(
            f'[[models]]\nname = "alpha"\nbase_url = "{upstream.url}"\nfallbacks = ["beta"]\n'
            f'[[models]]\nname = "beta"\nbase_url = "{upstream.url}"\n'
        )
        settings = {
            "MIDSENTENCE_MODEL": "",
            "MIDSENTENCE_MODELS": str(models),
            "MIDSENTENCE_HEAL_ATTEMPTS": "2",
            # The scripted failures of one test must not count in the next.
            "MIDSENTENCE_BREAKER_FAILURES": "0",
        }
        yield from running(Stack(directory, upstream, settings=settings))


def asked(reader: Reader, stack: Stack, *answers: Answer) -> Chat:
    """A question whose attempts are these answers."""
    stack.upstream.answers.extend(answers)
    reader.record_texts()
    chat = reader.open()
    chat.ask("Will you finish?")
    return chat


def test_cut_answer_is_written_again_over_the_old_text(reader: Reader, stack: Stack) -> None:
    first, second = Answer(tokens=OLD, gate=True, cut_after=50), Answer(tokens=NEW, gate=True)
    chat = asked(reader, stack, first, second)
    discarded = chat.page.locator(".discarded")
    first.release(50)
    expect(chat.answer()).to_contain_text("old 49")
    first.release_all()
    second.release(3)
    expect(discarded).to_contain_text("old 49")
    chat.shows_answer("new 0 new 1 new 2")
    expect(chat.status).to_have_text(AGAIN)
    second.release_all()
    chat.shows_answer(second.text.rstrip())
    expect(discarded).to_have_count(0)
    chat.is_done()
    assert chat.source() == second.text
    assert [text for text in chat.recorded_answers() if not (first.text + second.text).find(text) >= 0] == []
    chat.page.reload()
    chat.shows_answer(second.text.rstrip())


def test_model_that_replaces_the_chosen_one_is_named(reader: Reader, stack: Stack) -> None:
    answer = Answer(tokens=["So ", "it ", "is."], gate=True)
    stack.upstream.answers.extend([Answer(status=401, body={"error": {"message": "No."}}), answer])
    chat = reader.open()
    chat.page.get_by_role("combobox", name="Model").select_option("alpha")
    chat.ask("Will you?")
    answer.release(1)
    chat.shows_answer("So")
    expect(chat.status).to_have_text("Live · beta is answering now.")
    answer.release_all()
    chat.shows_answer("So it is.")
    chat.is_done()
    for _ in range(2):
        shows(chat.row("assistant-1").locator(".by"), "beta")
        chat.page.reload()


def test_answer_that_fails_again_and_again_keeps_its_text_and_says_how_often(reader: Reader, stack: Stack) -> None:
    chat = asked(reader, stack, *(Answer(tokens=OLD, error_after=count) for count in (50, 40, 30)))
    note = chat.row("assistant-1").locator(".note")
    expect(note).to_have_text(
        "The answer failed: the model’s server failed. (The scripted model broke.) It was tried 3 times.",
        timeout=30_000,
    )
    expect(chat.page.locator(".discarded")).to_contain_text("old 49")
    assert chat.source() == "".join(OLD[:30])
