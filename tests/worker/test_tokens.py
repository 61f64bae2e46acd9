"""Token counts without the model's vocabulary."""

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
def test_cjk_character_counts_as_a_token_and_others_as_a_quarter(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_estimated_usage_is_marked_as_estimated() -> None:
    conversation = [Message("system", "four"), Message("user", "你好")]
    assert estimated_usage(conversation, "five of") == Usage(4 + 1 + 4 + 2, 2, "estimated")
