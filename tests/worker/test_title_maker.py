"""Which sessions are titled, and what becomes of a call to the model that is not finished."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from midsentence.events import Delta, EndReason, Entry, Reasoning
from midsentence.ids import EventId
from midsentence.log import Access, Kind, View
from midsentence_worker.models.base import Finish, Mark, Message, Piece
from midsentence_worker.title_maker import TitleMaker, excerpt
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SESSION = "00AAAAAAAAAAAAAAAAAAAAAA"
QUESTION = "What is\na stream?"
FIRST_TITLE = "What is a stream?"


def answered(turn: int, end: EndReason | None = "stop", text: str = "A log.") -> list[Entry]:
    return [Entry(turn, turn - 1, "user", QUESTION), Entry(turn, turn - 1, "assistant", text, end)]


def view(title: str = FIRST_TITLE, kind: Kind = "chat") -> View:
    first = EventId(1, 0, 0)
    return View(Access("ann", kind, ""), "streaming", 1, first, title, None, [], first, [], None)


class OneModel:
    name = "small"

    def __init__(self, *pieces: Piece) -> None:
        self.pieces = pieces
        self.asked = self.read = 0
        self.cancelled: list[str] = []
        self.hangs = False

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del messages, mark
        self.asked += 1
        for piece in self.pieces:
            self.read += 1
            yield piece
        if self.hangs:
            await asyncio.Event().wait()

    async def cancel(self, mark: str) -> None:
        self.cancelled.append(mark)


class OneLog:
    def __init__(self) -> None:
        self.titles: list[tuple[str, str, str]] = []

    async def entitle(self, session_id: str, automatic: str, title: str) -> bool:
        self.titles.append((session_id, automatic, title))
        return True


class OneBreaker:
    is_open = False

    def failure(self, model: str) -> object:
        assert model == "small"
        return object() if self.is_open else None


def maker(model: OneModel, log: OneLog, breaker: OneBreaker | None = None) -> TitleMaker:
    made: Any = TitleMaker(cast("Any", model), cast("Any", log), cast("Any", breaker or OneBreaker()))
    return made


async def test_reasoning_is_left_out_of_a_title() -> None:
    model, log = OneModel(Reasoning("They ask."), Delta("Str"), Delta("eams"), Finish("stop", None)), OneLog()
    titles = maker(model, log)
    titles.begin(SESSION, view(), answered(1), 1)
    await eventually(lambda: log.titles, description="the title is stored")
    assert log.titles == [(SESSION, FIRST_TITLE, "Streams")]
    assert model.cancelled == []


NOT_TITLED: dict[str, tuple[View, list[Entry], int]] = {
    "a one-shot answer": (view(kind="push"), answered(1), 1),
    "a session with another title": (view(title="Mine"), answered(1), 1),
    "a failed answer": (view(), answered(1, "error"), 1),
    "a stopped answer": (view(), answered(1, "stopped"), 1),
    "a filtered answer": (view(), answered(1, "content_filter"), 1),
    "an answer without text": (view(), answered(1, text=" \n"), 1),
    "a second answer": (view(), [*answered(1), *answered(2)], 2),
    "a turn without an answer": (view(), answered(1, None), 1),
    "no message": (view(), [], 1),
}


@pytest.mark.parametrize(("session", "entries", "turn"), NOT_TITLED.values(), ids=NOT_TITLED.keys())
async def test_a_model_is_asked_for_no_title_of_another_session(session: View, entries: list[Entry], turn: int) -> None:
    model = OneModel(Delta("Streams"), Finish("stop", None))
    titles = maker(model, OneLog())
    titles.begin(SESSION, session, entries, turn)
    await asyncio.sleep(0)
    await titles.aclose()
    assert model.asked == 0


async def test_a_model_that_is_down_is_asked_for_no_title() -> None:
    model, breaker = OneModel(Delta("Streams"), Finish("stop", None)), OneBreaker()
    breaker.is_open = True
    titles = maker(model, OneLog(), breaker)
    titles.begin(SESSION, view(), answered(1), 1)
    await asyncio.sleep(0)
    assert model.asked == 0
    await titles.aclose()


async def test_an_answer_after_failed_ones_is_the_first() -> None:
    entries = [*answered(1, "error"), *answered(2, "stopped"), *answered(3, "length", "A log indeed.")]
    assert excerpt(entries, 3) == (QUESTION, "A log indeed.")


async def test_a_reply_that_is_too_long_is_ended() -> None:
    """The rest of it is not read, and a response in the background is cancelled."""
    model, log = OneModel(Mark("r1"), *[Delta("word " * 100)] * 100), OneLog()
    titles = maker(model, log)
    titles.begin(SESSION, view(), answered(1), 1)
    await eventually(lambda: log.titles, description="the title is stored")
    assert model.read < 20
    assert model.cancelled == ["r1"]


async def test_a_shutdown_cancels_the_response_of_a_title() -> None:
    model, log = OneModel(Mark("r1"), Delta("Streams")), OneLog()
    model.hangs = True
    titles = maker(model, log)
    titles.begin(SESSION, view(), answered(1), 1)
    await eventually(lambda: model.read == 2, description="the reply has begun")
    await titles.aclose()
    assert (model.cancelled, log.titles) == (["r1"], [])


async def test_no_more_titles_are_asked_for_than_the_limit() -> None:
    model = OneModel(Delta("Streams"))
    model.hangs = True
    titles = maker(model, OneLog())
    for _ in range(100):
        titles.begin(SESSION, view(), answered(1), 1)
    await eventually(lambda: model.asked == 64, description="the first titles are asked for")
    await titles.aclose()
    assert model.asked == 64
