"""Rule 2.3: requests that a page of another site makes a browser send."""

import pytest

from tests.protocol.questions import SHORT
from tests.protocol.refused import assert_refused
from tests.support.client import Visitor

FOREIGN = {
    "another site": "https://evil.example",
    "another port": "http://127.0.0.1:1",
    "a sandboxed frame": "null",
    "a name that begins like ours": "http://127.0.0.1.evil.example",
    "ours as a user of theirs": "http://127.0.0.1@evil.example",
    "nothing": "",
    "no URL": "evil",
    "an invalid port": "http://127.0.0.1:port",
    "a port too large": "http://127.0.0.1:99999999",
    "brackets": "http://[::1",
    "a file URL": "file://",
}


@pytest.mark.parametrize("origin", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_page_of_another_origin_can_write_nothing(visitor: Visitor, origin: str) -> None:
    """2.3: 403 on every POST, PATCH and DELETE, though the browser sends the visitor's cookie."""
    session_id = visitor.start(SHORT)
    headers = {"Origin": origin}
    start = visitor.http.post("/sessions", json={"text": SHORT}, headers=headers)
    say = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT}, headers=headers)
    stop = visitor.http.post(f"/sessions/{session_id}/stop", headers=headers)
    rename = visitor.http.patch(f"/sessions/{session_id}", json={"title": "theirs"}, headers=headers)
    delete = visitor.http.delete(f"/sessions/{session_id}", headers=headers)
    for response in (start, say, stop, rename, delete):
        assert_refused(response, 403, "foreign_origin")
    assert visitor.send(session_id, SHORT) == 2, "no message may be added and the session must not be deleted"
    (listed,) = visitor.http.get("/sessions").json()["sessions"]
    assert listed["title"] == SHORT


def test_a_cross_site_request_can_write_nothing(visitor: Visitor, base_url: str) -> None:
    """2.3: Sec-Fetch-Site alone, and even beside the server's own origin."""
    session_id = visitor.start(SHORT)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": base_url}):
        start = visitor.http.post("/sessions", json={"text": SHORT}, headers=headers)
        say = visitor.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT}, headers=headers)
        rename = visitor.http.patch(f"/sessions/{session_id}", json={"title": "theirs"}, headers=headers)
        delete = visitor.http.delete(f"/sessions/{session_id}", headers=headers)
        for response in (start, say, rename, delete):
            assert_refused(response, 403, "foreign_origin")
    assert visitor.send(session_id, SHORT) == 2


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_the_servers_own_page_can_write(visitor: Visitor, base_url: str, site: str | None) -> None:
    """2.3: the request's own origin."""
    headers = {"Origin": base_url, **({} if site is None else {"Sec-Fetch-Site": site})}
    session_id = visitor.start(SHORT, **headers)
    assert visitor.send(session_id, SHORT, **headers) == 2
    assert visitor.http.patch(f"/sessions/{session_id}", json={"title": "ours"}, headers=headers).status_code == 200
    assert visitor.http.delete(f"/sessions/{session_id}", headers=headers).status_code == 204


def test_a_request_without_an_origin_can_write(visitor: Visitor) -> None:
    """2.3: browsers send Origin; curl does not."""
    session_id = visitor.start(SHORT)
    assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204


def test_a_page_of_another_origin_can_read_nothing(visitor: Visitor) -> None:
    """10.4: only /push sends CORS headers, and no preflight succeeds."""
    session_id = visitor.start(SHORT)
    headers = {"Origin": "https://evil.example"}
    paths = ("/", "/sessions", f"/sessions/{session_id}", "/healthz", "/readyz", "/nothing")
    responses = [visitor.http.get(path, headers=headers) for path in paths]
    responses.append(visitor.http.get(f"/sessions/{session_id}/events?until=end", headers=headers))
    preflight = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    responses += [visitor.http.options(path, headers=preflight) for path in (*paths, "/push")]
    for response in responses:
        assert not [name for name in response.headers if name.startswith("access-control-")], response.url
