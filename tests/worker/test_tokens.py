"""Token counts without the model's own vocabulary."""

import pytest

from midsentence.events import Usage
from midsentence_worker.models.base import Message
from midsentence_worker.models.tokens import estimate_tokens, estimated_usage


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("fives", 2),
        ("你好", 2),
        ("你好，世界。", 6),
        ("你好 abc", 3),
        ("안녕", 2),
        ("𠀀", 1),
    ],
)
def test_a_cjk_character_is_a_token_and_so_are_four_of_any_other(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_an_estimate_says_that_it_is_one() -> None:
    conversation = [Message("system", "four"), Message("user", "你好")]
    assert estimated_usage(conversation, "five of") == Usage(4 + 1 + 4 + 2, 2, "estimated")
