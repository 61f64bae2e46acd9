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
from tests.support.model_client import collect, text_of

pytestmark = pytest.mark.anyio

ENGLISH = [Message("user", "What is this?")]
CHINESE = [Message("user", "这是什么？")]
SHOW = [Message("user", "Show me a table.")]
SHOW_IN_CHINESE = [Message("user", "给我看一个表格。")]
THINK = [Message("user", "Please think about it.")]
THINK_IN_CHINESE = [Message("user", "请先思考一下。")]


class Pace:
    """Does not wait, and sums up the seconds that it was asked to wait."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __call__(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(
    "conversation",
    [ENGLISH, CHINESE, SHOW, SHOW_IN_CHINESE],
    ids=["English", "Chinese", "a sample", "a Chinese sample"],
)
async def test_demo_writes_at_reading_speed_in_small_pieces(conversation: list[Message]) -> None:
    pace = Pace()
    *pieces, last = await collect(DemoModel(pace), conversation)
    answer = text_of(pieces)
    assert answer == demo_answer(conversation)
    assert last == Finish("stop", estimated_usage(conversation, answer))
    assert 30 <= len(pieces) / pace.seconds <= 40
    assert 4 <= pace.seconds <= 10, "long enough to reload in the middle, short enough to see the end"


def test_chinese_question_gets_a_chinese_answer() -> None:
    assert demo_answer(CHINESE).startswith("你问的是“这是什么？”。")
    assert demo_answer(ENGLISH).startswith("You asked “What is this?”.")


def test_answer_names_the_question_and_the_number_of_messages() -> None:
    conversation = [
        Message("system", "Be brief."),
        *ENGLISH,
        Message("assistant", "This."),
        Message("user", "Why\n  so?"),
    ]
    assert demo_answer(conversation).startswith("You asked “Why so?”.")
    assert "3 messages" in demo_answer(conversation)
    assert "1 message " in demo_answer(ENGLISH)


def test_long_question_is_quoted_in_part() -> None:
    assert re.match("You asked “x{59}…”", demo_answer([Message("user", "x" * 500)]))


@pytest.mark.parametrize("conversation", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_answer_holds_a_list_and_a_code_block(conversation: list[Message]) -> None:
    answer = demo_answer(conversation)
    assert "\n\n- " in answer
    assert re.search(r"\n```sh\n.*\n```\n", answer)


@pytest.mark.parametrize("question", ["a TABLE?", "Some code, please", "maths", "a formula", "in Markdown", "math"])
def test_english_question_about_formatting_gets_a_sample_of_each(question: str) -> None:
    answer = demo_answer([Message("user", question)])
    assert answer.startswith("You asked")
    assert "Here is one of each thing" in answer
    assert_shows_one_of_each(answer)


@pytest.mark.parametrize("question", ["画一个表格", "写代码", "一条公式", "讲讲数学", "看看排版", "写一段code吧"])
def test_chinese_question_about_formatting_gets_a_sample_of_each(question: str) -> None:
    answer = demo_answer([Message("user", question)])
    assert answer.startswith("你问的是")
    assert "每样来一个" in answer
    assert_shows_one_of_each(answer)


@pytest.mark.parametrize("question", ["Who is stable?", "Decode it", "aftermath", "What is this?", "这是什么？"])
def test_other_question_gets_no_sample(question: str) -> None:
    assert r"\(" not in demo_answer([Message("user", question)])


def assert_shows_one_of_each(answer: str) -> None:
    assert re.search(r"\n\n\|.+\|.+\|\n\|:--\|--:\|\n(\|.+\|.+\|\n){3}\n", answer), "a table"
    assert re.search(r"\n\n```python\n(.*\n)+?    .*\n```\n\n", answer), "code that is indented"
    assert answer.count("```") == 2
    assert re.search(r"[^\n]\\\(.+?\\\)", answer), "mathematics in a line"
    assert re.search(r"\n\n\\\[\n.+\n\\\]\n\n", answer), "mathematics in a block"
    assert re.search(r"\n1\. .+\n   - .+(\n.+)+\n     - ", answer), "lists in a list"
    assert re.search(r"\[[^\]]+\]\(https://[^)\s]+\)", answer), "a link"


def test_sample_has_the_requested_length() -> None:
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
async def test_demo_reasons_first_when_asked_to(conversation: list[Message], begins: str) -> None:
    pace = Pace()
    *pieces, last = await collect(DemoModel(pace), conversation)
    thoughts = [piece.text for piece in pieces if isinstance(piece, Reasoning)]
    assert pieces[: len(thoughts)] == [Reasoning(text) for text in thoughts], "before the text"
    assert "".join(thoughts) == demo_reasoning(conversation)
    assert demo_reasoning(conversation).startswith(begins)
    assert text_of(pieces) == demo_answer(conversation)
    assert last == Finish("stop", estimated_usage(conversation, demo_reasoning(conversation) + text_of(pieces)))
    assert 30 <= len(pieces) / pace.seconds <= 40


async def test_demo_does_not_reason_unasked() -> None:
    assert not [piece for piece in await collect(DemoModel(Pace()), ENGLISH) if isinstance(piece, Reasoning)]


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
def test_english_answer_has_the_requested_length(question: str, length: int) -> None:
    answer = demo_answer([Message("user", question)])
    assert len(answer.split()) == length
    assert answer.count("```") % 2 == 0


@pytest.mark.parametrize(("question", "length"), [("写500字", 500), ("请用 300 个字回答", 300), ("写80000字", 5000)])
def test_chinese_answer_has_the_requested_length(question: str, length: int) -> None:
    answer = demo_answer([Message("user", question)])
    # As word processors count it: each Chinese character, and each run of others.
    assert len(re.findall("[\u3000-\u9fff\uff00-\uffef]|[^\\s\u3000-\u9fff\uff00-\uffef]+", answer)) == length
    assert answer.count("```") % 2 == 0


def test_demo_answers_an_empty_conversation() -> None:
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
async def test_settings_choose_the_model(values: dict[str, str], kind: type, name: str) -> None:
    given = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, "model": None, **values}
    settings = Settings.model_validate(given)
    chosen = make_model(settings.model_list.default, settings)
    assert (type(chosen), chosen.name) == (kind, name)
    await chosen.aclose()


@pytest.mark.parametrize("conversation", [ENGLISH, SHOW, SHOW_IN_CHINESE], ids=["plain", "shown", "shown in Chinese"])
async def test_demo_continues_its_answer_after_every_cut(conversation: list[Message]) -> None:
    """Also where the cut is in front of a line's indentation."""
    answer = demo_answer(conversation)
    model = DemoModel(Pace())
    for cut in range(len(answer) + 1):
        rest = await collect(model, [*conversation, Message("assistant", answer[:cut])])
        assert answer[:cut] + text_of(rest) == answer
    assert model.takeover == "continue"


async def test_demo_does_not_repeat_its_reasoning_when_it_continues() -> None:
    """Where the log holds text, the reasoning is complete. Without text, the demo begins with the reasoning again."""
    begun = [*THINK, Message("assistant", demo_answer(THINK)[:1])]
    assert not [piece for piece in await collect(DemoModel(Pace()), begun) if isinstance(piece, Reasoning)]
    assert isinstance((await collect(DemoModel(Pace()), THINK))[0], Reasoning)


async def test_demo_refuses_to_continue_another_text() -> None:
    with pytest.raises(CannotResumeError):
        await collect(DemoModel(Pace()), [*ENGLISH, Message("assistant", "As a pirate, ")])


async def test_closed_stream_yields_nothing_more() -> None:
    pieces = DemoModel(Pace()).stream(ENGLISH)
    await anext(pieces)
    await pieces.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
