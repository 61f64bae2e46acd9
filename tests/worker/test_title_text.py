"""Whatever a model replies, the title is empty, or one line of 1 to 60 characters."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midsentence_worker.title_text import TITLE_CHARS, request, title

ANY_TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from(" \n\"'“”.。*#_`…\ud83d\u2028\x00"))

REPLIES = {
    "a title": ("Streams in Redis", "Streams in Redis"),
    "white space": ("\n \t Streams \t in   Redis \n\n", "Streams in Redis"),
    "quotation marks": ('"Streams in Redis"', "Streams in Redis"),
    "marks within marks": ("**“Streams in Redis.”**.", "Streams in Redis"),
    "Chinese marks": ("《关于流的问题》。", "关于流的问题"),
    "a quotation within": ('"Yes" and "no"', '"Yes" and "no"'),
    "an apostrophe": ("'Tis the season", "'Tis the season"),
    "a heading": ("## Streams in Redis", "Streams in Redis"),
    "a label": ("Title: Streams in Redis", "Streams in Redis"),
    "a label within": ("A title: Streams", "A title: Streams"),
    "a Chinese label": ("标题：流", "流"),
    "a period": ("Streams in Redis.", "Streams in Redis"),
    "an ellipsis": ("And then...", "And then..."),
    "a question": ("Why streams?", "Why streams?"),
    "more lines": ("Streams in Redis\n\nThis title says what it is about.", "Streams in Redis"),
    "a line of marks": ('""\n**\nStreams', "Streams"),
    "other line breaks": ("Streams\u2028in\x85Redis", "Streams"),
    "control characters": ("Streams\x00in\x1b[31mRedis", "Streams in [31mRedis"),
    "a pair of surrogates": ("\ud83d\ude00 Streams", "😀 Streams"),
    "half a pair": ("\ud83d Streams", "\ufffd Streams"),
    "reasoning": ("<think>\nThe user asks…\n</think>\n\nStreams", "Streams"),
    "the end of reasoning alone": ("The user asks…\n</think>\nStreams", "Streams"),
    "reasoning without an end": ("<think>The user asks about\nstreams", ""),
    "nothing": ("", ""),
    "white space alone": (" \n\u3000", ""),
    "sixty characters": ("x" * 60, "x" * 60),
    "a long word": ("x" * 61, "x" * 59 + "…"),
    "a long line": ("word " * 20, ("word " * 11).rstrip() + "…"),
    "a long Chinese line": ("长" * 100, "长" * 59 + "…"),
}


@pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_a_title_is_what_a_reply_says(reply: str, expected: str) -> None:
    assert title(reply) == expected


@given(ANY_TEXT)
@example("\x1c\x1d\x1e\x85")
@example("*" * 200)
def test_a_title_is_empty_or_one_short_line(reply: str) -> None:
    made = title(reply)
    assert len(made) <= TITLE_CHARS
    assert made == " ".join(made.split())
    assert len(made.splitlines()) <= 1
    assert made.encode().decode() == made


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(["think", "thinking", "thought", "reasoning"]))
def test_reasoning_is_never_in_a_title(thought: str, tag: str) -> None:
    reply = f"<{tag}>{thought.replace('<', '')}</{tag}>\nStreams"
    assert title(reply) == "Streams"


def test_a_request_is_bounded() -> None:
    (message,) = request("q" * 100_000, "a" * 1_000_000)
    assert len(message.text) < 5_000
    assert message.text.count("q" * 2_000) == message.text.count("a" * 2_000) == 1
