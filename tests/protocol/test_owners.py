"""Rules 2.2 and section 3: to everybody but its owner, a session does not exist."""

from collections.abc import Callable, Generator
from http.cookies import SimpleCookie

import httpx
import pytest

from tests.protocol.conftest import Deployment
from tests.protocol.questions import LONG, SHORT
from tests.protocol.raw import exchange, head
from tests.protocol.refused import assert_refused, seen
from tests.support.client import Visitor

# The form of a session id that nobody ever had.
NEVER = "00AAAAAAAAAAAAAAAAAAAAAA"

ROUTES: dict[str, Callable[[Visitor, str], httpx.Response]] = {
    "show": lambda who, session_id: who.http.get(f"/sessions/{session_id}"),
    "show, by HEAD": lambda who, session_id: who.http.head(f"/sessions/{session_id}"),
    "events": lambda who, session_id: who.http.get(f"/sessions/{session_id}/events"),
    "events until the end": lambda who, session_id: who.http.get(f"/sessions/{session_id}/events?until=end"),
    "events from a cursor": lambda who, session_id: who.http.get(
        f"/sessions/{session_id}/events", headers={"Last-Event-ID": "1.0-0"}
    ),
    "say": lambda who, session_id: who.http.post(f"/sessions/{session_id}/messages", json={"text": SHORT}),
    "say with a key": lambda who, session_id: who.http.post(
        f"/sessions/{session_id}/messages", json={"text": SHORT}, headers={"Idempotency-Key": "k"}
    ),
    "say behind a turn": lambda who, session_id: who.http.post(
        f"/sessions/{session_id}/messages", json={"text": SHORT, "parent": 0}
    ),
    "rename": lambda who, session_id: who.http.patch(f"/sessions/{session_id}", json={"title": "theirs"}),
    "share": lambda who, session_id: who.http.post(f"/sessions/{session_id}/share"),
    "unshare": lambda who, session_id: who.http.delete(f"/sessions/{session_id}/share"),
    "delete": lambda who, session_id: who.http.delete(f"/sessions/{session_id}"),
}


@pytest.fixture(scope="module")
def owner(deployment: Deployment) -> Generator[Visitor]:
    with Visitor(deployment.base_url) as somebody:
        yield somebody


@pytest.fixture(scope="module")
def running(owner: Visitor) -> Generator[str]:
    """A session of the owner's whose answer is being written, with a message behind it."""
    session_id = owner.start(LONG, **{"Idempotency-Key": "k"})
    owner.say(session_id, SHORT)
    yield session_id
    assert owner.http.delete(f"/sessions/{session_id}").status_code == 204


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_strangers_session_looks_like_one_that_never_was(
    stranger: Visitor, running: str, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2, 3.3: the same status, the same body, the same headers."""
    answer = route(stranger, running)
    assert answer.status_code == 404
    assert seen(answer) == seen(route(stranger, NEVER))


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_nor_can_somebody_without_a_cookie_tell(
    nobody: Visitor, stranger: Visitor, running: str, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2, 3.2: a request without a cookie is a stranger's, and gets none on the way."""
    answer = route(nobody, running)
    assert seen(answer) == seen(route(nobody, NEVER)) == seen(route(stranger, NEVER))
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_deleted_session_looks_like_one_that_never_was(
    visitor: Visitor, route: Callable[[Visitor, str], httpx.Response]
) -> None:
    """2.2: to its owner, too."""
    session_id = visitor.start(SHORT)
    assert visitor.http.delete(f"/sessions/{session_id}").status_code == 204
    assert seen(route(visitor, session_id)) == seen(route(visitor, NEVER))


def test_what_a_stranger_tried_changed_nothing(owner: Visitor, stranger: Visitor, running: str) -> None:
    """3.3: no message was added, nothing was renamed or deleted."""
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
    "a line feed behind": NEVER + "%0A",
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
def test_what_is_no_session_id_is_answered_alike(stranger: Visitor, odd: str) -> None:
    """2.2: on every route: whether an id could exist is nobody's business either."""
    for route in ROUTES.values():
        assert seen(route(stranger, odd)) == seen(route(stranger, NEVER))


@pytest.mark.parametrize("odd", ["..%2F" + NEVER, NEVER + "%2Fevents", "%2E%2E", "."])
def test_an_id_that_climbs_finds_nothing(stranger: Visitor, base_url: str, odd: str) -> None:
    """2.2: no form of a path leads anywhere but to 404, or to an address of its own."""
    for path in (f"/sessions/{odd}/messages", f"/sessions/{odd}/{odd}/messages"):
        reply = exchange(base_url, [head("GET", path, Connection="close")], method="GET")
        assert reply.status in {404, 405}


def test_a_visitor_gets_a_cookie_with_the_first_message(nobody: Visitor) -> None:
    """3.1, 3.2: signed, out of scripts' reach, and not sent along by other sites' forms."""
    response = nobody.http.post("/sessions", json={"text": SHORT})
    cookie = SimpleCookie(response.headers["set-cookie"])["midsentence"]
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "lax", "/")
    assert cookie["secure"] == ""
    assert not cookie["domain"]
    assert nobody.http.get(f"/sessions/{response.json()['session_id']}").status_code == 200


def test_a_visitor_gets_a_cookie_with_the_page(nobody: Visitor) -> None:
    """3.2: before the first question, so that its Idempotency-Key has an owner."""
    response = nobody.http.get("/")
    assert response.status_code == 200
    assert "midsentence" in SimpleCookie(response.headers["set-cookie"])
    name = nobody.http.cookies["midsentence"]
    session_id = nobody.start(SHORT)
    assert nobody.http.cookies["midsentence"] == name, "the page's own cookie was taken for a stranger's"
    assert nobody.http.get(f"/sessions/{session_id}").status_code == 200


def test_over_https_the_cookie_stays_there(nobody: Visitor) -> None:
    """3.1: Secure where the request came over HTTPS, as the proxy before us says."""
    response = nobody.http.get("/", headers={"X-Forwarded-Proto": "https"})
    assert SimpleCookie(response.headers["set-cookie"])["midsentence"]["secure"] is True


def test_two_visitors_get_two_cookies(base_url: str) -> None:
    """3.1: nobody is given somebody else's name."""
    with Visitor(base_url) as one, Visitor(base_url) as two:
        one.http.get("/")
        two.http.get("/")
        assert one.http.cookies["midsentence"] != two.http.cookies["midsentence"]


def spoiled(cookie: str) -> dict[str, bytes]:
    name, _, signature = cookie.rpartition(".")
    # The last character of a base64 text has bits that mean nothing, so one in the middle is changed.
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
        "more behind it": f"{cookie}AAAA".encode(),
        "quoted badly": f'"{cookie}'.encode(),
        "not ASCII": f"{name}é.{signature}".encode(),
        "not UTF-8": b"\xff\xfe." + signature.encode(),
        "very long": b"x" * 8000 + b"." + signature.encode(),
    }


def test_a_tampered_cookie_is_a_strangers(owner: Visitor, running: str, base_url: str) -> None:
    """3.1, 2.2: nothing but the signature makes an owner."""
    cookie = owner.http.cookies["midsentence"]
    with Visitor(base_url) as plain:
        expected = seen(plain.http.get(f"/sessions/{NEVER}"))
        good = plain.http.get(f"/sessions/{running}", headers={"Cookie": f"midsentence={cookie}"})
        assert good.status_code == 200, "the unspoiled cookie opens the session"
        for how, value in spoiled(cookie).items():
            headers = {b"Cookie": b"midsentence=" + value}
            assert seen(plain.http.get(f"/sessions/{running}", headers=headers)) == expected, how
            assert plain.http.get(f"/sessions/{running}/events", headers=headers).status_code == 404, how
            assert plain.http.get("/sessions", headers=headers).json() == {"sessions": []}, how


def test_whoever_comes_with_a_tampered_cookie_gets_a_good_one(owner: Visitor, base_url: str) -> None:
    """3.2: a message of theirs is accepted, as a new visitor's."""
    cookie = owner.http.cookies["midsentence"]
    with Visitor(base_url) as plain:
        headers = {b"Cookie": b"midsentence=" + spoiled(cookie)["another signature"]}
        response = plain.http.post("/sessions", json={"text": SHORT}, headers=headers)
        assert response.status_code == 202
        given = SimpleCookie(response.headers["set-cookie"])["midsentence"].value
        assert given.rpartition(".")[0] != cookie.rpartition(".")[0]


def test_a_token_in_the_address_opens_nothing(owner: Visitor, nobody: Visitor, running: str) -> None:
    """3.1: the cookie is the only proof; what stands in an address stands in logs."""
    cookie = owner.http.cookies["midsentence"]
    for name in ("token", "cookie", "midsentence", "owner", "access_token"):
        assert nobody.http.get(f"/sessions/{running}", params={name: cookie}).status_code == 404
    headers = {"Authorization": f"Bearer {cookie}"}
    assert_refused(nobody.http.get(f"/sessions/{running}", headers=headers), 404, "not_found")


def test_an_owner_reads_on_every_server(visitor: Visitor, deployment: Deployment) -> None:
    """3.1: a cookie that one server gave is known to the others."""
    session_id = visitor.start(SHORT)
    assert visitor.read(session_id, base_url=deployment.elsewhere).end() == "stop"
    assert visitor.http.get(f"{deployment.elsewhere}/sessions/{session_id}").status_code == 200
