"""Reasoning that a server leaves in the text, between tags."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midsentence.events import Delta, Reasoning
from midsentence_worker.models import background_response, retry
from midsentence_worker.models.base import CannotResumeError, Mark, Piece
from midsentence_worker.models.think_tags import ThinkTags
from tests.support.chat_answers import DONE, Heard, heard, text
from tests.support.model_client import collect, model_at, text_of
from tests.support.upstream import Answer, Upstream

TAGS = ("<think>", "</think>", "<thinking>", "</thinking>", "<thought>", "◁think▷", "◁/think▷", "<THINK>", "</Think>")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(background_response, "_POLL_SECONDS", 0.01)


def split(*parts: str) -> tuple[str, str]:
    """The reasoning and the text. Once the text has begun no reasoning follows."""
    tags = ThinkTags()
    thought, rest = "", ""
    for part in parts:
        if tags.has_ended:
            rest += part
            continue
        more, text = tags.split(part)
        assert not (rest and more)
        thought, rest = thought + more, rest + text
    more, text = tags.flush()
    return thought + more, rest + text


CASES = [
    ("<think>Hm.</think>Hello", "Hm.", "Hello"),
    ("<think>\nHm.\n</think>\n\nHello", "\nHm.\n", "Hello"),
    ("\n <think>Hm.</think> Hello ", "Hm.", "Hello "),
    ("<thinking>Hm.</thinking>Hello", "Hm.", "Hello"),
    ("<thought>Hm.</thought>Hello", "Hm.", "Hello"),
    ("<reasoning>Hm.</reasoning>Hello", "Hm.", "Hello"),
    ("◁think▷Hm.◁/think▷Hello", "Hm.", "Hello"),
    ("<THINK>Hm.</Think>Hello", "Hm.", "Hello"),
    ("<think>İ</think>İ", "İ", "İ"),
    ("<think>a</think>\n<think>b</think>\nHello", "ab", "Hello"),
    ("<think>a < b </th> </thinking></think>Hello", "a < b </th> </thinking>", "Hello"),
    ("<think>\n\n</think>\n\nHello", "", "Hello"),
    ("<think></think>", "", ""),
    ("<think>Hm.", "Hm.", ""),
    ("<think>Hm.</thi", "Hm.</thi", ""),
    ("<think>Hm.</think>\n", "Hm.", ""),
    ("<thi", "", "<thi"),
    ("</think>\n\nHello", "", "Hello"),
    ("Hello <think>Hm.</think>", "", "Hello <think>Hm.</think>"),
    ("Hm.</think>Hello", "", "Hm.</think>Hello"),
    ("<thinker>Hello", "", "<thinker>Hello"),
    ("< think>Hello", "", "< think>Hello"),
    ("`<think>`", "", "`<think>`"),
    ("  Hello", "", "  Hello"),
    (" \n", "", " \n"),
    ("", "", ""),
    ("<", "", "<"),
    (f"{' ' * 300}<think>", "", f"{' ' * 300}<think>"),
]


@pytest.mark.parametrize(("answer", "thought", "rest"), CASES)
def test_tags_at_the_beginning_hold_reasoning_wherever_they_are_cut(answer: str, thought: str, rest: str) -> None:
    assert split(answer) == (thought, rest)
    assert split(*answer) == (thought, rest)
    for at in range(len(answer)):
        assert split(answer[:at], answer[at:]) == (thought, rest)


@given(st.lists(st.sampled_from(TAGS) | st.text(st.sampled_from(" \n<a>İ/"), max_size=3)), st.lists(st.integers(0, 80)))
def test_cuts_change_nothing(words: list[str], cuts: list[int]) -> None:
    answer = "".join(words)
    ends = [0, *sorted(min(place, len(answer)) for place in cuts), len(answer)]
    assert split(*(answer[begin:end] for begin, end in pairwise(ends))) == split(answer)


@pytest.mark.parametrize("begun", ["H", "<b", "<t>", "</t>", "1 < 2"])
def test_text_that_begins_no_tag_is_not_held(begun: str) -> None:
    assert ThinkTags().split(begun) == ("", begun)


def test_reasoning_is_not_held() -> None:
    tags = ThinkTags()
    assert [tags.split(part) for part in ("<think>", "Hm.", " So</", "b>")] == [
        ("", ""),
        ("Hm.", ""),
        (" So", ""),
        ("</b>", ""),
    ]


def test_tags_of_an_answer_become_reasoning() -> None:
    stream = [text(part) for part in ("<think>", "\nHm.\n", "</think>", "\n\nHello")]
    assert heard(*stream, DONE) == Heard("Hello", "\nHm.\n", heard(text("x"), DONE).finish)


def test_what_is_held_is_given_when_the_answer_breaks_off() -> None:
    assert heard(text("<thi"), b"data: {broken\n\n").text == "<thi"
    assert heard(text("<think>Hm.</thi"), b"data: {broken\n\n").thought == "Hm.</thi"


@pytest.mark.parametrize(("think_tags", "answer"), [(True, "Hello"), (False, "<think>Hm.</think>Hello")])
@pytest.mark.anyio
async def test_setting_turns_the_tags_into_text(upstream: Upstream, think_tags: bool, answer: str) -> None:
    upstream.answers.append(Answer(["<thi", "nk>Hm.</think>", "Hello"]))
    async with model_at(upstream.url, think_tags=think_tags) as model:
        assert text_of(await collect(model)) == answer


RESPONSES = [
    ["<think>Hm.</think>", "Hello"],
    [" ", " ", "<", "t", "Hello"],
    ["<thi", "nk>H", "m.</", "think>", "\n\nHel", "lo"],
    [*"<think>\nHm.</think>\nHello"],
    ["\n", "<think>", "\n", "Hm. <", "b></thi", "nk>", " \n", "Hello"],
    ["<think>Hm."],
    ["<think>", "Hm.</th"],
    ["<think>", "\n\n", "</think>", "Hello"],
    ["Hello", " <think>"],
    [" ", "<", "b>"],
    ["◁think▷Hm. ", "😀◁/thi", "nk▷Hello"],
    ["</think>", "Hello"],
]


@pytest.mark.parametrize("tokens", RESPONSES)
@pytest.mark.parametrize("cut_after", [None, 1, 2, 3])
@pytest.mark.anyio
async def test_tags_of_a_response_become_reasoning_and_each_mark_covers_what_came_before_it(
    upstream: Upstream, tokens: list[str], cut_after: int | None
) -> None:
    """A worker that takes over within the tags goes on with the reasoning."""
    upstream.answers.append(Answer(tokens, cut_after=cut_after, cuts=99))
    whole = "".join(tokens).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    async with model_at(upstream.url, api="responses") as model:
        pieces = await collect(model)
        assert said(pieces) == split(whole)
        assert all(piece.text for piece in pieces if isinstance(piece, Delta | Reasoning))
        for number, piece in enumerate(pieces):
            if isinstance(piece, Mark):
                rest = said(await collect(model, mark=piece.value))
                before = said(pieces[:number])
                assert (before[0] + rest[0], before[1] + rest[1]) == split(whole)


@pytest.mark.anyio
async def test_setting_turns_the_tags_of_a_response_into_text(upstream: Upstream) -> None:
    upstream.answers.append(Answer(["<think>Hm.</think>", "Hello"]))
    async with model_at(upstream.url, api="responses", think_tags=False) as model:
        assert said(await collect(model)) == ("", "<think>Hm.</think>Hello")


@pytest.mark.parametrize("mark", ["resp_1:4:9t9", "resp_1:4:9tb", "resp_1:4:9tx", "resp_1:4:t", "resp_1:4:9t-1"])
@pytest.mark.anyio
async def test_mark_with_an_unknown_state_is_refused(upstream: Upstream, mark: str) -> None:
    async with model_at(upstream.url, api="responses") as model:
        with pytest.raises(CannotResumeError):
            await collect(model, mark=mark)


def said(pieces: Sequence[Piece]) -> tuple[str, str]:
    """The reasoning and the text."""
    thought = "".join(piece.text for piece in pieces if isinstance(piece, Reasoning))
    return thought, text_of(pieces)
