"""The messages that the model is sent: those on the path of its turn, and no other branch."""

from typing import Any

from tests.support.answers import Answer
from tests.support.client import Visitor
from tests.support.processes import Stack


def sent_texts(stack: Stack) -> list[str]:
    """The texts of the newest request; the user's are in capitals."""
    return [
        message["content"].upper() if message["role"] == "user" else message["content"]
        for message in stack.upstream.requests[-1].messages
    ]


def send(visitor: Visitor, session_id: str, text: str, **more: Any) -> None:
    """Send a message, and wait for the answer, which is the text and a full stop."""
    response = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": text, **more})
    assert response.status_code == 202, response.text
    visitor.read(session_id)


def test_model_is_sent_the_path_from_the_root_and_no_other_branch(stack: Stack, visitor: Visitor) -> None:
    """Turn by turn: 1 ← 2 ← 3, 1 ← 4 (2 edited), 4 ← 5, 0 ← 6 (1 sent again)."""
    stack.upstream.answers.extend(Answer(tokens=[f"{text}."]) for text in "abcdef")
    session_id = visitor.start("a")
    visitor.read(session_id)
    send(visitor, session_id, "b")
    send(visitor, session_id, "c", parent=2)
    assert sent_texts(stack) == ["A", "a.", "B", "b.", "C"]
    send(visitor, session_id, "d", parent=1)
    assert sent_texts(stack) == ["A", "a.", "D"]
    send(visitor, session_id, "e")
    assert sent_texts(stack) == ["A", "a.", "D", "d.", "E"]
    send(visitor, session_id, "a", parent=0)
    assert sent_texts(stack) == ["A"]


def test_reasoning_is_not_sent_back_to_the_model(stack: Stack, visitor: Visitor) -> None:
    """Protocol 4.7: only the text of an answer is sent. An answer of reasoning alone is left out."""
    stack.upstream.answers += [
        Answer(tokens=["a."], reasoning=["Hm. "]),
        Answer(tokens=[], reasoning=["Hm, hm. "]),
        Answer(tokens=["c."]),
    ]
    session_id = visitor.start("a")
    visitor.read(session_id)
    send(visitor, session_id, "b")
    send(visitor, session_id, "c")
    assert sent_texts(stack) == ["A", "a.", "B", "C"]


def test_queued_message_is_sent_with_the_path_of_its_parent(stack: Stack, visitor: Visitor) -> None:
    """One message follows the answer that was running when it came, the other begins a branch beside it."""
    running = Answer(tokens=["a."], gate=True)
    stack.upstream.answers += [running, Answer(tokens=["b."]), Answer(tokens=["c."])]
    session_id = visitor.start("a")
    for text, parent in (("b", 1), ("c", 0)):
        visitor.http.post(f"/sessions/{session_id}/messages", json={"text": text, "parent": parent})
    running.release_all()
    visitor.read(session_id)
    sent = [[message["content"] for message in request.messages] for request in stack.upstream.requests]
    assert sent == [["a"], ["a", "a.", "b"], ["c"]]
