"""Section 7: a session's capability lets anybody read it, and nothing else."""

import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.refused import assert_refused, seen
from tests.support.client import Visitor
from tests.support.upstream import text_for
from tests.support.waiting import wait_until

NEVER = "00AAAAAAAAAAAAAAAAAAAAAA"


def share(visitor: Visitor, session_id: str) -> str:
    response = visitor.http.post(f"/sessions/{session_id}/share")
    assert response.status_code == 200, response.text
    body = response.json()
    capability: str = body["share"]
    events_url = f"/sessions/{session_id}/events?share={capability}"
    assert body == {"session_id": session_id, "share": capability, "events_url": events_url}
    return capability


def test_a_capability_reads_the_session_on_any_server(
    visitor: Visitor, anonymous: Visitor, deployment: Deployment
) -> None:
    """7.2: the running answer and the next one, without a cookie."""
    session_id = visitor.start(SHORT)
    capability = share(visitor, session_id)
    transcript = anonymous.read(session_id, base_url=deployment.elsewhere, share=capability)
    assert transcript.answer() == "".join(text_for(SHORT))
    visitor.send(session_id, SHORT)
    anonymous.read(session_id, transcript, share=capability)
    assert (transcript.answer(2), transcript.snapshots) == ("".join(text_for(SHORT)), 1)
    shown = anonymous.http.get(f"/sessions/{session_id}", params={"share": capability})
    assert (shown.status_code, shown.json()) == (200, visitor.http.get(f"/sessions/{session_id}").json())
    assert "midsentence" not in anonymous.http.cookies


def test_a_capability_is_the_same_until_it_is_revoked(visitor: Visitor, anonymous: Visitor) -> None:
    """7.1: a shared link stays good until then, and a revoked one stays bad."""
    session_id = visitor.start(SHORT)
    first = share(visitor, session_id)
    assert share(visitor, session_id) == first
    assert len(first) >= 22, "a capability needs 128 bits"
    assert visitor.http.delete(f"/sessions/{session_id}/share").status_code == 204
    second = share(visitor, session_id)
    assert second != first
    statuses = [
        anonymous.http.get(f"/sessions/{session_id}", params={"share": it}).status_code for it in (first, second)
    ]
    assert statuses == [404, 200]


@pytest.mark.parametrize("wrong", ["", "x", "ä", "owner", "other"])
def test_a_wrong_capability_opens_nothing(visitor: Visitor, anonymous: Visitor, stranger: Visitor, wrong: str) -> None:
    """7.2, 2.2: whether the session is shared or not, and for its owner too."""
    shared, own = visitor.start(SHORT), visitor.start(SHORT)
    share(visitor, shared)
    owner = visitor.http.cookies["midsentence"].partition(".")[0]
    given = {"owner": owner, "other": share(stranger, stranger.start(SHORT))}
    query = {"share": given.get(wrong, wrong)}
    for session_id in (shared, own):
        for client in (anonymous, stranger, visitor):
            for path in ("", "/events"):
                answer = client.http.get(f"/sessions/{session_id}{path}", params=query)
                assert_refused(answer, 404, "not_found")
                assert seen(answer) == seen(client.http.get(f"/sessions/{NEVER}{path}", params=query))


def test_a_capability_grants_nothing_but_reading(visitor: Visitor, stranger: Visitor) -> None:
    """7.2: no other route accepts it."""
    session_id = visitor.start(LONG)
    query = {"share": share(visitor, session_id)}
    http, path = stranger.http, f"/sessions/{session_id}"
    for answer in (
        http.post(f"{path}/messages", params=query, json={"text": SHORT}),
        http.post(f"{path}/stop", params=query),
        http.post(f"{path}/share", params=query),
        http.delete(f"{path}/share", params=query),
        http.patch(path, params=query, json={"title": "mine"}),
        http.delete(path, params=query),
    ):
        assert_refused(answer, 404, "not_found")
    assert http.get("/sessions", params=query).json() == {"sessions": []}


@pytest.mark.parametrize("how", ["share", ""], ids=["revoked", "deleted"])
def test_revoking_or_deleting_ends_shared_streams(visitor: Visitor, anonymous: Visitor, how: str) -> None:
    """7.3: in mid-answer, within seconds; a reconnect gets 404. The owner's stream survives a revocation."""
    session_id = visitor.start(LONG)
    capability = share(visitor, session_id)
    with visitor.events(session_id) as own, anonymous.events(session_id, share=capability) as events:
        assert next(events).type == "snapshot"
        assert next(own).type == "snapshot"
        visitor.http.delete(f"/sessions/{session_id}/{how}".rstrip("/"))
        assert "end" not in [event.type for event in events]
        if how:
            assert next(event for event in own if event.type == "delta").json["text"]
    assert_refused(anonymous.http.get(f"/sessions/{session_id}/events", params={"share": capability}), 404, "not_found")


def test_a_share_with_unknown_fields_or_a_foreign_origin_is_refused(visitor: Visitor) -> None:
    """4.3: no body and an empty object are accepted."""
    session_id = visitor.start(SHORT)
    path = f"/sessions/{session_id}/share"
    assert_refused(visitor.http.post(path, json={"with": "bob"}), 422, "invalid_body")
    assert visitor.http.post(path, json={}).status_code == 200
    headers = {"Origin": "http://foreign.test"}
    assert_refused(visitor.http.post(path, headers=headers), 403, "foreign_origin")
    assert_refused(visitor.http.delete(path, headers=headers), 403, "foreign_origin")


def test_a_caught_up_reader_with_a_capability_gets_204(visitor: Visitor, anonymous: Visitor) -> None:
    """8.8, 7.2: like the owner."""
    session_id = visitor.start(SHORT)
    capability = share(visitor, session_id)
    transcript = anonymous.read(session_id, share=capability)

    def is_caught_up() -> bool:
        query = {"until": "end", "share": capability}
        headers = {"Last-Event-ID": str(transcript.cursor)}
        return anonymous.http.get(f"/sessions/{session_id}/events", params=query, headers=headers).status_code == 204

    wait_until(is_caught_up, description="204")
