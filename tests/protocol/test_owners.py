"""Rule 2.2 and section 3: a session exists for its owner alone."""

from collections.abc import Callable, Generator
from http.cookies import SimpleCookie

import httpx
import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.raw import exchange, head
from tests.protocol.refused import assert_refused, seen
from tests.support.client import Visitor

# A well-formed session id that was never given.
NEVER = "00AAAAAAAAAAAAAAAAAAAAAA"

ROUTES: dict[str, Callable[[Visitor, str], httpx.Response]] = {
    "show": lambda client, session_id: client.http.get(f"/sessions/{session_id}"),
    "show, by HEAD": lambda client, session_id: client.http.head(f"/sessions/{session_id}"),
    "events": lambda client, session_id: client.http.get(f"/sessions/{session_id}/events"),
    "events until the end": lambda client, session_id: client.http.get(f"/sessions/{session_id}/events?until=end"),
    "events from a cursor": lambda client, session_id: client.http.get(
        f"/sessions/{session_id}/events", headers={"Last-Event-ID": "1.0-0"}
    ),
    "send": lambda client, session_id: client.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT}),
    "send with a key": lambda client, session_id: client.http.post(
        f"/sessions/{session_id}/messages", json={"text": SHORT}, headers={"Idempotency-Key": "k"}
    ),
    "send with a parent": lambda client, session_id: client.http.post(
        f"/sessions/{session_id}/messages", json={"text": SHORT, "parent": 0}
    ),
    "rename": lambda client, session_id: client.http.patch(f"/sessions/{session_id}", json={"title": "theirs"}),
    "share": lambda client, session_id: client.http.post(f"/sessions/{session_id}/share"),
    "unshare": lambda client, session_id: client.http.delete(f"/sessions/{session_id}/share"),
    "delete": lambda client, session_id: client.http.delete(f"/sessions/{session_id}"),
}


@pytest.fixture(scope="module")
def owner(deployment: Deployment) -> Generator[Visitor]:
    with Visitor(deployment.base_url) as client:
        yield client


@pytest.fixture(scope="module")
def running(owner: Visitor) -> Generator[str]:
    """A session of the owner's with a running answer and a queued message."""
    session_id = owner.start(LONG, **{"Idempotency-Key": "k"})
    owner.send(session_id, SHORT)
    yield session_id
    assert owner.http.delete(f"/sessions/{session_id}").status_code == 204


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_another_owners_session_looks_like_an_unknown_one(
    stranger: Visitor, running: str, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2, 3.3: the same status, the same body, the same headers."""
    answer = route(stranger, running)
    assert answer.status_code == 404
    assert seen(answer) == seen(route(stranger, NEVER))


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_session_looks_unknown_without_a_cookie(
    anonymous: Visitor, stranger: Visitor, running: str, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2, 3.2: a request without a cookie is a stranger's, and these routes set none."""
    answer = route(anonymous, running)
    assert seen(answer) == seen(route(anonymous, NEVER)) == seen(route(stranger, NEVER))
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_deleted_session_looks_like_an_unknown_one(
    visitor: Visitor, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2: to its owner, too."""
    session_id = visitor.start(SHORT)
    assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204
    assert seen(route(visitor, session_id)) == seen(route(visitor, NEVER))


def test_a_strangers_requests_change_nothing(owner: Visitor, stranger: Visitor, running: str) -> None:
    """3.3: no message is added, nothing is renamed or deleted."""
    for route in ROUTES.values():
        assert route(stranger, running).status_code == 404
    snapshot = owner.http.get(f"/sessions/{running}").json()
    assert [entry["text"] for entry in snapshot["messages"] if entry["role"] == "user"] == [LONG]
    with owner.events(running, until_end=False) as events:
        state = next(event for event in events if event.type == "state").json
    assert (state["queued"], state["title"]) == ([{"key": None, "text": SHORT}], LONG)


ODD_IDS = {
    "short": "x",
    "one character short": NEVER[:-1],
    "one character long": NEVER + "A",
    "very long": "00" + "A" * 5000,
    "a partition beyond this deployment": "ff" + NEVER[2:],
    "a partition in capitals": "0A" + NEVER[2:],
    "no partition": "zz" + NEVER[2:],
    "a line feed after it": NEVER + "%0A",
    "NUL": NEVER[:-1] + "%00",
    "a space": NEVER[:-1] + "%20",
    "a hash tag": "00%7BAAAAAAAAAAAAAAAAAAA%7D",
    "a wildcard": "00*",
    "a key of Redis": "ms:jobs",
    "dots": "...",
    "Chinese": "%E4%BC%9A%E8%AF%9D",
    "not UTF-8": "%FF%FE",
    "null": "null",
    "full-width digits": "%EF%BC%90%EF%BC%90" + NEVER[2:],
}


@pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS.keys())
def test_a_malformed_session_id_looks_like_an_unknown_one(stranger: Visitor, odd: str) -> None:
    """2.2: on every route, so that the answer does not reveal which ids are possible."""
    for route in ROUTES.values():
        assert seen(route(stranger, odd)) == seen(route(stranger, NEVER))


@pytest.mark.parametrize("odd", ["..%2F" + NEVER, NEVER + "%2Fevents", "%2E%2E", "."])
def test_a_path_traversal_finds_nothing(stranger: Visitor, base_url: str, odd: str) -> None:
    """2.2: every form of the path gets 404, or 405 from a route of its own."""
    for path in (f"/sessions/{odd}/messages", f"/sessions/{odd}/{odd}/messages"):
        reply = exchange(base_url, [head("GET", path, Connection="close")], method="GET")
        assert reply.status in {404, 405}


def test_a_visitor_gets_a_cookie_with_the_first_message(anonymous: Visitor) -> None:
    """3.1, 3.2: HttpOnly, and SameSite=Lax against other sites' forms."""
    response = anonymous.http.post("/sessions", json={"text": SHORT})
    cookie = SimpleCookie(response.headers["set-cookie"])["midsentence"]
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "lax", "/")
    assert cookie["secure"] == ""
    assert not cookie["domain"]
    assert anonymous.http.get(f"/sessions/{response.json()['session_id']}").status_code == 200


def test_a_visitor_gets_a_cookie_with_the_page(anonymous: Visitor) -> None:
    """3.2: before the first question, so that its Idempotency-Key has an owner."""
    response = anonymous.http.get("/")
    assert response.status_code == 200
    assert "midsentence" in SimpleCookie(response.headers["set-cookie"])
    name = anonymous.http.cookies["midsentence"]
    session_id = anonymous.start(SHORT)
    assert anonymous.http.cookies["midsentence"] == name, "the cookie that came with the page must be recognised"
    assert anonymous.http.get(f"/sessions/{session_id}").status_code == 200


def test_a_cookie_given_over_https_is_secure(anonymous: Visitor) -> None:
    """3.1: Secure where the request came over HTTPS, as X-Forwarded-Proto says."""
    response = anonymous.http.get("/", headers={"X-Forwarded-Proto": "https"})
    assert SimpleCookie(response.headers["set-cookie"])["midsentence"]["secure"] is True


def test_two_visitors_get_two_cookies(base_url: str) -> None:
    """3.1: no two visitors share a cookie."""
    with Visitor(base_url) as one, Visitor(base_url) as two:
        one.http.get("/")
        two.http.get("/")
        assert one.http.cookies["midsentence"] != two.http.cookies["midsentence"]


def tampered(cookie: str) -> dict[str, bytes]:
    name, _, signature = cookie.rpartition(".")
    # The last base64 character has unused bits, so one in the middle is changed.
    changed = signature[:5] + ("A" if signature[5] != "A" else "B") + signature[6:]
    return {
        "another signature": f"{name}.{changed}".encode(),
        "another name": f"{name[:3]}{'A' if name[3] != 'A' else 'B'}{name[4:]}.{signature}".encode(),
        "no signature": name.encode(),
        "an empty signature": f"{name}.".encode(),
        "only the signature": signature.encode(),
        "nothing": b"",
        "a dot": b".",
        "cut": cookie[:-4].encode(),
        "more after it": f"{cookie}AAAA".encode(),
        "quoted badly": f'"{cookie}'.encode(),
        "not ASCII": f"{name}é.{signature}".encode(),
        "not UTF-8": b"\xff\xfe." + signature.encode(),
        "very long": b"x" * 8000 + b"." + signature.encode(),
    }


def test_a_tampered_cookie_owns_nothing(owner: Visitor, running: str, base_url: str) -> None:
    """3.1, 2.2: only a valid signature makes an owner."""
    cookie = owner.http.cookies["midsentence"]
    with Visitor(base_url) as plain:
        expected = seen(plain.http.get(f"/sessions/{NEVER}"))
        good = plain.http.get(f"/sessions/{running}", headers={"Cookie": f"midsentence={cookie}"})
        assert good.status_code == 200, "the valid cookie must open the session"
        for how, value in tampered(cookie).items():
            headers = {b"Cookie": b"midsentence=" + value}
            assert seen(plain.http.get(f"/sessions/{running}", headers=headers)) == expected, how
            assert plain.http.get(f"/sessions/{running}/events", headers=headers).status_code == 404, how
            assert plain.http.get("/sessions", headers=headers).json() == {"sessions": []}, how


def test_a_tampered_cookie_is_replaced(owner: Visitor, base_url: str) -> None:
    """3.2: the message is accepted as a new visitor's."""
    cookie = owner.http.cookies["midsentence"]
    with Visitor(base_url) as plain:
        headers = {b"Cookie": b"midsentence=" + tampered(cookie)["another signature"]}
        response = plain.http.post("/sessions", json={"text": SHORT}, headers=headers)
        assert response.status_code == 202
        given = SimpleCookie(response.headers["set-cookie"])["midsentence"].value
        assert given.rpartition(".")[0] != cookie.rpartition(".")[0]


def test_a_cookie_value_outside_the_cookie_opens_nothing(owner: Visitor, anonymous: Visitor, running: str) -> None:
    """3.1: only the cookie proves an owner; URLs are written to logs."""
    cookie = owner.http.cookies["midsentence"]
    for name in ("token", "cookie", "midsentence", "owner", "access_token"):
        assert anonymous.http.get(f"/sessions/{running}", params={name: cookie}).status_code == 404
    headers = {"Authorization": f"Bearer {cookie}"}
    assert_refused(anonymous.http.get(f"/sessions/{running}", headers=headers), 404, "not_found")


def test_an_owner_reads_on_every_server(visitor: Visitor, deployment: Deployment) -> None:
    """3.1: every server accepts the cookie that one of them set."""
    session_id = visitor.start(SHORT)
    assert visitor.read(session_id, base_url=deployment.elsewhere).end() == "stop"
    assert visitor.http.get(f"{deployment.elsewhere}/sessions/{session_id}").status_code == 200
