"""Characters that a provider split between two chunks."""

import json
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from midsentence_worker.models.surrogates import SurrogateJoiner


def joined(chunks: list[str]) -> str:
    joiner = SurrogateJoiner()
    return "".join(map(joiner.join, chunks)) + joiner.flush()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 60)))
def test_text_cut_anywhere_in_utf_16_is_joined(text: str, cuts: list[int]) -> None:
    units = text.encode("utf-16-le")
    places = sorted({0, len(units), *(2 * cut for cut in cuts if 2 * cut < len(units))})
    chunks = [units[start:end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(places)]
    assert joined(chunks) == text


@given(st.lists(st.text(st.sampled_from("a你😀\ud83d\ude00"))))
def test_result_is_always_valid_text(chunks: list[str]) -> None:
    result = joined(chunks)
    assert result.encode().decode() == result


def test_lone_surrogate_becomes_a_replacement_character() -> None:
    assert joined(["a\ud83d", "b", "\ude00"]) == "a\ufffdb\ufffd"


def test_text_without_surrogates_is_returned_at_once() -> None:
    assert SurrogateJoiner().join(json.loads(r'"\ud83d\ude00"')) == "😀"
    assert not re.search("[\ud800-\udfff]", SurrogateJoiner().join("a\ud83d"))
