"""Rules 8.14 and 8.15: what a model thought before it answered is there after a reload too."""

from tests.protocol.conftest import Deployment
from tests.protocol.questions import SHORT, THOUGHTFUL
from tests.support.client import Transcript, Visitor


def thought(transcript: Transcript) -> str:
    return transcript.messages[-1].reasoning or ""


def test_reasoning_comes_as_events_of_its_own(visitor: Visitor) -> None:
    """8.15: from the beginning, and none of it is part of the text."""
    session_id = visitor.start(THOUGHTFUL)
    visitor.read(session_id)
    with visitor.events(session_id, "1.0-0") as events:
        told = [event for event in events if event.type in {"reasoning", "delta"}]
    kinds = [event.type for event in told]
    assert kinds == sorted(kinds, reverse=True), "all thoughts, then all text"
    assert set(kinds) == {"reasoning", "delta"}
    assert all(set(event.json) == {"text"} for event in told)
    entry = visitor.http.get(f"/sessions/{session_id}").json()["messages"][-1]
    for kind, field in (("reasoning", "reasoning"), ("delta", "text")):
        assert "".join(event.json["text"] for event in told if event.type == kind) == entry[field]
        assert entry[field]


def test_who_comes_in_the_middle_of_a_thought_has_all_of_it_in_the_end(
    visitor: Visitor, deployment: Deployment
) -> None:
    """8.14, 8.15: the snapshot has what was thought so far, beside an empty text, and the rest follows."""
    session_id = visitor.start(THOUGHTFUL)
    early, late = Transcript(session_id), Transcript(session_id)
    with visitor.events(session_id) as events:
        for event in events:
            early.take(event)
            if event.type != "state" and thought(early):
                break
        visitor.read(session_id, late, base_url=deployment.elsewhere)
        for event in events:
            early.take(event)
    begun = late.events[0].json["messages"][-1]
    assert set(begun) == {"turn", "parent", "role", "text", "end", "reasoning"}
    assert (begun["text"], begun["end"]) == ("", None)
    assert thought(late).startswith(begun["reasoning"])
    assert late.messages == early.messages
    assert len(thought(late)) > len(begun["reasoning"]) > 0


def test_reasoning_outlives_its_answer(visitor: Visitor, deployment: Deployment) -> None:
    """8.14: in the snapshot of a finished turn, on every server, and behind later turns."""
    session_id = visitor.start(THOUGHTFUL)
    first = visitor.read(session_id)
    visitor.say(session_id, SHORT)
    whole = visitor.read(session_id, first)
    assert visitor.read(session_id, Transcript(session_id), base_url=deployment.elsewhere).messages == whole.messages
    answers = visitor.http.get(f"/sessions/{session_id}").json()["messages"][1::2]
    assert answers[0]["reasoning"] == whole.messages[1].reasoning
    assert "reasoning" not in answers[1], "an answer without any has no such field"
    assert all("tools" not in answer for answer in answers)
