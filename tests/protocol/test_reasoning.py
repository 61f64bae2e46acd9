"""Rules 8.14 and 8.15: a model's reasoning is kept beside its answer."""

from tests.protocol.conftest import Deployment
from tests.protocol.questions import SHORT, THOUGHTFUL
from tests.support.client import Transcript, Visitor


def reasoning(transcript: Transcript) -> str:
    return transcript.messages[-1].reasoning or ""


def test_reasoning_is_sent_as_separate_events(visitor: Visitor) -> None:
    """8.15: reasoning comes first, and none of it is part of the text."""
    session_id = visitor.start(THOUGHTFUL)
    visitor.read(session_id)
    with visitor.events(session_id, "1.0-0") as events:
        pieces = [event for event in events if event.type in {"reasoning", "delta"}]
    kinds = [event.type for event in pieces]
    assert kinds == sorted(kinds, reverse=True), "all reasoning must come before the text"
    assert set(kinds) == {"reasoning", "delta"}
    assert all(set(event.json) == {"text"} for event in pieces)
    entry = visitor.http.get(f"/sessions/{session_id}").json()["messages"][-1]
    for kind, field in (("reasoning", "reasoning"), ("delta", "text")):
        assert "".join(event.json["text"] for event in pieces if event.type == kind) == entry[field]
        assert entry[field]


def test_a_reader_who_joins_in_mid_reasoning_gets_all_of_it(visitor: Visitor, deployment: Deployment) -> None:
    """8.14, 8.15: the snapshot has the reasoning so far beside an empty text, and events bring the rest."""
    session_id = visitor.start(THOUGHTFUL)
    early, late = Transcript(session_id), Transcript(session_id)
    with visitor.events(session_id) as events:
        for event in events:
            early.take(event)
            if event.type != "state" and reasoning(early):
                break
        visitor.read(session_id, late, base_url=deployment.elsewhere)
        for event in events:
            early.take(event)
    begun = late.events[0].json["messages"][-1]
    assert set(begun) == {"turn", "parent", "role", "text", "end", "reasoning"}
    assert (begun["text"], begun["end"]) == ("", None)
    assert reasoning(late).startswith(begun["reasoning"])
    assert late.messages == early.messages
    assert len(reasoning(late)) > len(begun["reasoning"]) > 0


def test_reasoning_stays_after_its_answer_ends(visitor: Visitor, deployment: Deployment) -> None:
    """8.14: in the snapshot of a finished turn, on every server, and after later turns."""
    session_id = visitor.start(THOUGHTFUL)
    first = visitor.read(session_id)
    visitor.send(session_id, SHORT)
    whole = visitor.read(session_id, first)
    assert visitor.read(session_id, Transcript(session_id), base_url=deployment.elsewhere).messages == whole.messages
    answers = visitor.http.get(f"/sessions/{session_id}").json()["messages"][1::2]
    assert answers[0]["reasoning"] == whole.messages[1].reasoning
    assert "reasoning" not in answers[1], "an answer without reasoning must not have the field"
    assert all("tools" not in answer for answer in answers)
