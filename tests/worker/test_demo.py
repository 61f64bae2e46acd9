"""The built-in model."""

import re

import pytest

from midsentence.events import Reasoning
from midsentence.settings import Settings
from midsentence_worker.models import make_model
from midsentence_worker.models.base import CannotResumeError, Finish, Message
from midsentence_worker.models.chat_completions import ChatCompletionsModel
from midsentence_worker.models.demo import DemoModel, demo_answer, demo_reasoning
from midsentence_worker.models.responses import ResponsesModel
from midsentence_worker.models.tokens import estimated_usage
from tests.support.asking import answered, text_of

pytestmark = pytest.mark.anyio

ENGLISH = [Message("user", "What is this?")]
CHINESE = [Message("user", "这是什么？")]
SHOW = [Message("user", "Show me a table.")]
SHOW_IN_CHINESE = [Message("user", "给我看一个表格。")]
THINK = [Message("user", "Please think about it.")]
THINK_IN_CHINESE = [Message("user", "请先思考一下。")]


class Pace:
    """Waits for nothing, and knows how long it would have taken."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __call__(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(
    "conversation",
    [ENGLISH, CHINESE, SHOW, SHOW_IN_CHINESE],
    ids=["English", "Chinese", "a showpiece", "a Chinese one"],
)
async def test_it_writes_at_reading_speed_in_small_pieces(conversation: list[Message]) -> None:
    pace = Pace()
    *pieces, last = await answered(DemoModel(pace), conversation)
    answer = text_of(pieces)
    assert answer == demo_answer(conversation)
    assert last == Finish("stop", estimated_usage(conversation, answer))
    assert 30 <= len(pieces) / pace.seconds <= 40
    assert 4 <= pace.seconds <= 10, "long enough to reload in the middle, short enough to see the end"


def test_a_chinese_question_has_a_chinese_answer() -> None:
    assert demo_answer(CHINESE).startswith("你问的是“这是什么？”。")
    assert demo_answer(ENGLISH).startswith("You asked “What is this?”.")


def test_it_is_about_the_conversation() -> None:
    said = [Message("system", "Be brief."), *ENGLISH, Message("assistant", "This."), Message("user", "Why\n  so?")]
    assert demo_answer(said).startswith("You asked “Why so?”.")
    assert "3 messages" in demo_answer(said)
    assert "1 message " in demo_answer(ENGLISH)


def test_a_long_question_is_quoted_in_part() -> None:
    assert re.match("You asked “x{59}…”", demo_answer([Message("user", "x" * 500)]))


@pytest.mark.parametrize("conversation", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_it_gives_a_page_something_to_render(conversation: list[Message]) -> None:
    answer = demo_answer(conversation)
    assert "\n\n- " in answer
    assert re.search(r"\n```sh\n.*\n```\n", answer)


@pytest.mark.parametrize("question", ["a TABLE?", "Some code, please", "maths", "a formula", "in Markdown", "math"])
def test_an_english_question_for_something_to_see_is_shown_one_of_each(question: str) -> None:
    answer = demo_answer([Message("user", question)])
    assert answer.startswith("You asked")
    assert "Here is one of each thing" in answer
    assert_shows_one_of_each(answer)


@pytest.mark.parametrize("question", ["画一个表格", "写代码", "一条公式", "讲讲数学", "看看排版", "写一段code吧"])
def test_a_chinese_question_for_something_to_see_is_shown_one_of_each(question: str) -> None:
    answer = demo_answer([Message("user", question)])
    assert answer.startswith("你问的是")
    assert "每样来一个" in answer
    assert_shows_one_of_each(answer)


@pytest.mark.parametrize("question", ["Who is stable?", "Decode it", "aftermath", "What is this?", "这是什么？"])
def test_any_other_question_is_answered_as_ever(question: str) -> None:
    assert r"\(" not in demo_answer([Message("user", question)])


def assert_shows_one_of_each(answer: str) -> None:
    assert re.search(r"\n\n\|.+\|.+\|\n\|:--\|--:\|\n(\|.+\|.+\|\n){3}\n", answer), "a table"
    assert re.search(r"\n\n```python\n(.*\n)+?    .*\n```\n\n", answer), "code that is indented"
    assert answer.count("```") == 2
    assert re.search(r"[^\n]\\\(.+?\\\)", answer), "mathematics in a line"
    assert re.search(r"\n\n\\\[\n.+\n\\\]\n\n", answer), "mathematics in a block"
    assert re.search(r"\n1\. .+\n   - .+(\n.+)+\n     - ", answer), "lists in a list"
    assert re.search(r"\[[^\]]+\]\(https://[^)\s]+\)", answer), "a link"


def test_a_showpiece_may_be_as_long_as_was_wished() -> None:
    answer = demo_answer([Message("user", "Write 400 words with a table")])
    assert len(answer.split()) == 400
    assert_shows_one_of_each(answer)


@pytest.mark.parametrize(
    ("conversation", "begins"),
    [
        (THINK, "I am asked to think"),
        (THINK_IN_CHINESE, "要我先想一想"),
        ([Message("user", "What is the REASON?")], "I am"),
        ([Message("user", "推理一下")], "要我"),
    ],
)
async def test_it_thinks_first_where_it_is_asked_to(conversation: list[Message], begins: str) -> None:
    pace = Pace()
    *pieces, last = await answered(DemoModel(pace), conversation)
    thoughts = [piece.text for piece in pieces if isinstance(piece, Reasoning)]
    assert pieces[: len(thoughts)] == [Reasoning(text) for text in thoughts], "before anything is said"
    assert "".join(thoughts) == demo_reasoning(conversation)
    assert demo_reasoning(conversation).startswith(begins)
    assert text_of(pieces) == demo_answer(conversation)
    assert last == Finish("stop", estimated_usage(conversation, demo_reasoning(conversation) + text_of(pieces)))
    assert 30 <= len(pieces) / pace.seconds <= 40


async def test_it_thinks_of_nothing_where_nobody_asks() -> None:
    assert not [piece for piece in await answered(DemoModel(Pace()), ENGLISH) if isinstance(piece, Reasoning)]


@pytest.mark.parametrize(
    ("question", "length"),
    [
        ("Write 200 words about it", 200),
        ("a 1,000-word essay", 1000),
        ("a 1 word answer", 1),
        ("0 words", 1),
        ("50 WORDS", 50),
        ("99999 words", 5000),
        ("9" * 5000 + " words", 5000),
    ],
)
def test_an_english_answer_is_as_long_as_was_wished(question: str, length: int) -> None:
    answer = demo_answer([Message("user", question)])
    assert len(answer.split()) == length
    assert answer.count("```") % 2 == 0


@pytest.mark.parametrize(("question", "length"), [("写500字", 500), ("请用 300 个字回答", 300), ("写80000字", 5000)])
def test_a_chinese_answer_is_as_long_as_was_wished(question: str, length: int) -> None:
    answer = demo_answer([Message("user", question)])
    # As word processors count it: each Chinese character, and each run of others.
    assert len(re.findall("[\u3000-\u9fff\uff00-\uffef]|[^\\s\u3000-\u9fff\uff00-\uffef]+", answer)) == length
    assert answer.count("```") % 2 == 0


def test_it_answers_even_where_nobody_asked() -> None:
    assert demo_answer([]).startswith("You asked “”.")


@pytest.mark.parametrize(
    ("values", "kind", "name"),
    [
        ({}, DemoModel, "demo"),
        ({"OPENAI_API_KEY": "sk-x"}, ChatCompletionsModel, "gpt-5-mini"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ChatCompletionsModel, "gpt-5-mini"),
        ({"OPENAI_API_KEY": "sk-x", "model": "llama3.2"}, ChatCompletionsModel, "llama3.2"),
        ({"OPENAI_API_KEY": "sk-x", "api": "responses"}, ResponsesModel, "gpt-5-mini"),
        ({"OPENAI_API_KEY": "sk-x", "model": "demo"}, DemoModel, "demo"),
        ({"OPENAI_API_KEY": "sk-x", "model": "demo", "api": "responses"}, DemoModel, "demo"),
    ],
)
async def test_the_demo_answers_only_where_no_model_is_named(values: dict[str, str], kind: type, name: str) -> None:
    given = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, "model": None, **values}
    chosen = make_model(Settings.model_validate(given))
    assert (type(chosen), chosen.name) == (kind, name)
    await chosen.aclose()


@pytest.mark.parametrize("conversation", [ENGLISH, SHOW, SHOW_IN_CHINESE], ids=["plain", "shown", "shown in Chinese"])
async def test_it_goes_on_with_what_it_said(conversation: list[Message]) -> None:
    """Wherever it was cut, in front of a line's indentation too."""
    answer = demo_answer(conversation)
    model_that_was_lost = DemoModel(Pace())
    for cut in range(len(answer) + 1):
        rest = await answered(model_that_was_lost, [*conversation, Message("assistant", answer[:cut])])
        assert answer[:cut] + text_of(rest) == answer
    assert model_that_was_lost.takeover == "continue"


async def test_it_thinks_no_second_time_before_it_goes_on() -> None:
    """All of the thought is in the log where there is any text; without any, it begins with the thought again."""
    begun = [*THINK, Message("assistant", demo_answer(THINK)[:1])]
    assert not [piece for piece in await answered(DemoModel(Pace()), begun) if isinstance(piece, Reasoning)]
    assert isinstance((await answered(DemoModel(Pace()), THINK))[0], Reasoning)


async def test_it_does_not_go_on_with_what_it_would_not_have_said() -> None:
    with pytest.raises(CannotResumeError):
        await answered(DemoModel(Pace()), [*ENGLISH, Message("assistant", "As a pirate, ")])


async def test_it_stops_when_it_is_closed() -> None:
    pieces = DemoModel(Pace()).stream(ENGLISH)
    await anext(pieces)
    await pieces.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
