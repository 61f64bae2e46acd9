"""A user of Redis who lacks one right: a refused message has written nothing that will run (redis/redis#12418).

Redis keeps what a script wrote before one of its calls failed. The commands are read from the scripts, so a script that
needs another one is tested with it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from midsentence.errors import SessionNotFoundError, StoreUnavailableError
from midsentence.events import Delta, End
from midsentence.jobs import Claim, Jobs
from midsentence.keys import Keys, SessionKeys
from midsentence.log import SessionLog, Submitted, Write
from midsentence.settings import Settings
from midsentence.store.scripts import SCRIPTS, Script
from midsentence.store.store import Store
from tests.support.processes import RedisChild
from tests.support.redis_deployments import execute
from tests.support.requirements import program

pytestmark = pytest.mark.anyio

NEEDS_REDIS = pytest.mark.needs_redis_server
NAMESPACE = "ms"
SECRET = "s" * 16
TURN = b'[{"turn":%d,"parent":0,"role":"user","text":"","end":null}]'
# Patterns of the kinds of keys (keys.py).
TAG = f"{NAMESPACE}:{{*}}"
KINDS = {
    "meta": f"{TAG}:{'?' * 24}",
    "log": f"{TAG}:*:log",
    "turns": f"{TAG}:*:turns",
    "queue": f"{TAG}:*:queue",
    "seen": f"{TAG}:*:seen",
    "jobs": f"{TAG}:jobs",
    "trims": f"{TAG}:trims",
}


def commands_of(script: Script) -> list[str]:
    return sorted(set(re.findall(r"call\(\s*'([A-Z]+)'", script.body)))


def pairs_of(script: Script) -> list[tuple[str, str]]:
    """Each command of a script with each kind of key that its text names."""
    named = re.findall(r"call\(\s*'([A-Z]+)',\s*([A-Z]+)", script.body)
    # append_in_order.lua indexes its keys, `keep` is given them, and claim.lua builds them.
    indexed = [
        (name, SessionKeys._fields[int(number) - 1])
        for name, number in re.findall(r"'([A-Z]+)', keys\[([12])\]", script.body)
    ]
    kept = [(name, kind) for name in re.findall(r"'([A-Z]+)', key,", script.body) for kind in KINDS]
    built = [(name, kind) for name, kind in re.findall(r"'([A-Z]+)', (meta|jobs|trims),", script.body)]
    return sorted({*((name, key.lower()) for name, key in named if key.lower() in KINDS), *indexed, *kept, *built})


def losses_of(name_of_script: str) -> pytest.MarkDecorator:
    """Rules of an ACL that each take one right away: a command, a command on one kind of key, a kind of channel.

    Redis says in other words than Valkey that a right is missing; it is asked for the commands alone.
    """
    script = SCRIPTS[name_of_script]
    everything = ["~*", "&*", "+@all"]
    found: dict[str, list[str]] = {name: [*everything, f"-{name}"] for name in commands_of(script)}
    cases = [pytest.param("redis", rules, id=f"redis-{name}", marks=NEEDS_REDIS) for name, rules in found.items()]
    for name, kind in pairs_of(script):
        others = " ".join(f"~{pattern}" for other, pattern in KINDS.items() if other != kind)
        found[f"{name}-{kind}"] = [*everything, f"-{name}", f"(+{name} {others})"]
    for kind in KINDS:
        found[f"key-{kind}"] = ["&*", "+@all", *(f"~{pattern}" for other, pattern in KINDS.items() if other != kind)]
    found["channel-wake"] = ["~*", "+@all", f"&{TAG}:*:live"]
    found["channel-live"] = ["~*", "+@all", f"&{TAG}:wake"]
    found["no-channels"] = ["~*", "+@all"]
    cases += [pytest.param("valkey", rules, id=name) for name, rules in found.items()]
    return pytest.mark.parametrize(("redis", "rules"), cases, indirect=["redis"], scope="module")


@pytest.fixture(scope="module")
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisChild]:
    binary = program("redis-server") if request.param == "redis" else None
    child = RedisChild(tmp_path_factory.mktemp("rights"), binary)
    child.start()
    yield child
    child.stop()


class Deployment:
    """A store whose user loses and gets rights."""

    def __init__(self, redis: RedisChild, store: Store) -> None:
        self._redis = redis
        self.store = store
        self.log = SessionLog(store)
        self.jobs = Jobs(store)

    def allow(self, *rules: str) -> None:
        execute(self._redis, "ACL", "SETUSER", "app", "reset", "on", ">pw", *(rules or ("~*", "&*", "+@all")))

    def read(self, *words: object) -> Any:
        return execute(self._redis, *words)

    def keys_without_ttl(self) -> list[bytes]:
        return [name for name in self.read("KEYS", "*") if self.read("PTTL", name) == -1]

    async def view(self, session_id: str) -> tuple[object, ...] | None:
        try:
            view = await self.log.read(session_id)
        except SessionNotFoundError:
            return None
        entries = [] if view.fold is None else [(entry.turn, entry.role, entry.text) for entry in view.fold.messages()]
        return (view.state, view.turn, view.top, view.title, view.queued, entries)

    async def claim(self) -> list[Claim]:
        return await self.jobs.claim("w1", "demo", 10)

    async def finish(self, claim: Claim) -> None:
        ended = [(Delta.type, Delta("Yes.").encoded()), (End.type, End("stop", None, None).encoded())]
        (written,) = await self.log.write([Write(claim.lease, claim.seq + 1, ended, TURN % claim.lease.turn)])
        if isinstance(written, Exception):
            raise written

    async def answer_all(self) -> list[int]:
        """Run all turns. Returns their numbers, in order."""
        turns: list[int] = []
        while claims := await self.claim():
            for claim in claims:
                turns.append(claim.lease.turn)
                await self.finish(claim)
        return turns


@pytest.fixture
async def app(redis: RedisChild) -> AsyncGenerator[Deployment]:
    settings = {
        "redis_url": redis.url.replace("redis://", "redis://app:pw@"),
        "partitions": 1,
        "namespace": NAMESPACE,
        "lease_seconds": 60,
    }
    execute(redis, "FLUSHALL")
    store = Store(Settings.model_validate(settings))
    deployment = Deployment(redis, store)
    deployment.allow()
    yield deployment
    assert deployment.keys_without_ttl() == []
    await store.aclose()


class Scene(ABC):
    """A session at one moment, the message that is sent to it then, and the turns that run once it is there."""

    @abstractmethod
    async def prepare(self, app: Deployment) -> str:
        """Make the session. Returns its id."""

    async def post(self, app: Deployment, session_id: str) -> Submitted:
        return await app.log.submit(session_id, "ann", "Again?", key="k")

    turns: Sequence[int] = ()


class New(Scene):
    turns = (1,)

    async def prepare(self, app: Deployment) -> str:
        return (await self.post(app, "")).session_id

    async def post(self, app: Deployment, session_id: str) -> Submitted:
        del session_id
        return await app.log.start("ann", "Hello?", key="k", secret=SECRET)


class Idle(Scene):
    turns = (2,)

    async def prepare(self, app: Deployment) -> str:
        session_id, _ = await app.log.start("ann", "Hello?")
        assert await app.answer_all() == [1]
        return session_id


class Busy(Scene):
    turns = (1, 2)

    async def prepare(self, app: Deployment) -> str:
        return (await app.log.start("ann", "Hello?")).session_id


class Interrupting(Scene):
    """The turns before it run no more, apart from the one that waits for a worker, which will end it."""

    turns = (1, 3)

    async def prepare(self, app: Deployment) -> str:
        session_id, _ = await app.log.start("ann", "Hello?")
        await app.log.submit(session_id, "ann", "Are you there?")
        return session_id

    async def post(self, app: Deployment, session_id: str) -> Submitted:
        return await app.log.submit(session_id, "ann", "Stop!", key="k", on_busy="interrupt")


SCENES = {"new": New, "idle": Idle, "busy": Busy, "interrupting": Interrupting}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
@losses_of("submit")
async def test_a_refused_message_has_written_nothing_that_runs(
    app: Deployment, scene: type[Scene], rules: list[str]
) -> None:
    """A message that is refused leaves the session as it was, and its repetition is answered once."""
    scene_ = scene()
    session_id = await scene_.prepare(app)
    if scene is New:
        app.read("FLUSHALL")
    before = await app.view(session_id)
    app.allow(*rules)
    try:
        await scene_.post(app, session_id)
    except StoreUnavailableError:
        app.allow()
        assert await app.view(session_id) == before
        if scene in (New, Idle):
            assert await app.claim() == []
    else:
        app.allow()
    again = await scene_.post(app, session_id)
    assert (again.session_id, again.turn) == (session_id, scene_.turns[-1])
    assert await app.answer_all() == [*scene_.turns]
    assert (await scene_.post(app, session_id)) == again
    assert await app.answer_all() == []


@losses_of("finish")
async def test_an_end_that_is_refused_is_written_by_its_repetition(app: Deployment, rules: list[str]) -> None:
    """A worker sends its end until Redis takes it. What waits behind the turn is lost by none of the tries."""
    session_id, _ = await app.log.start("ann", "Hello?")
    for text in ("one", "two", "three"):
        await app.log.submit(session_id, "ann", text)
    await app.log.stop(session_id, "ann", 2)
    (claim,) = await app.claim()
    app.allow(*rules)
    with_refusal = True
    try:
        await app.finish(claim)
        with_refusal = False
    except StoreUnavailableError:
        pass
    app.allow()
    if with_refusal:
        view = await app.log.read(session_id)
        assert (view.state, [queued.text for queued in view.queued]) == ("streaming", ["one", "two", "three"])
        await app.finish(claim)
    view = await app.log.read(session_id)
    assert (view.state, view.turn, [queued.text for queued in view.queued]) == ("queued", 3, ["three"])
    assert await app.answer_all() == [3, 4]


@losses_of("append")
async def test_an_append_that_is_refused_is_written_by_its_repetition(app: Deployment, rules: list[str]) -> None:
    session_id, _ = await app.log.start("ann", "Hello?")
    (claim,) = await app.claim()
    first = Write(claim.lease, 1, [(Delta.type, Delta("one ").encoded())], None, "mark 1")
    second = Write(claim.lease, 2, [(Delta.type, Delta("two ").encoded()), (Delta.type, Delta("three").encoded())])
    for write in (first, second):
        before = await app.view(session_id)
        app.allow(*rules)
        try:
            (reply,) = await app.log.write([write])
        except StoreUnavailableError as error:
            reply = error
        app.allow()
        if isinstance(reply, Exception):
            assert isinstance(reply, StoreUnavailableError)
            assert await app.view(session_id) == before
            (reply,) = await app.log.write([write])
        assert not isinstance(reply, Exception)
        assert reply.status == "ok"
    view = await app.view(session_id)
    assert view is not None
    assert view[-1] == [(1, "user", "Hello?"), (1, "assistant", "one two three")]
    assert app.read("HGET", Keys(NAMESPACE).session(session_id).meta, "mark") == b"mark 1"


@losses_of("fold")
async def test_a_checkpoint_that_is_refused_changes_no_text(app: Deployment, rules: list[str]) -> None:
    session_id, _ = await app.log.start("ann", "Hello?")
    (claim,) = await app.claim()
    await app.log.write([Write(claim.lease, 1, [(Delta.type, Delta("one ").encoded())])])
    before = await app.view(session_id)
    folded = (
        b'[{"turn":1,"parent":0,"role":"user","text":"Hello?","end":null},'
        b'{"turn":1,"parent":0,"role":"assistant","text":"one ","end":null}]'
    )
    app.allow(*rules)
    with suppress(StoreUnavailableError):
        await app.log.fold(claim.lease, 1, folded)
    app.allow()
    assert await app.view(session_id) == before


@losses_of("claim")
async def test_a_claim_that_is_refused_costs_no_attempt(app: Deployment, rules: list[str]) -> None:
    """Otherwise a turn would have used its attempts up when the operator repairs the user's rights."""
    session_id, _ = await app.log.start("ann", "Hello?")
    app.allow(*rules)
    claims: list[Claim] = []
    for _ in range(3):
        with suppress(StoreUnavailableError):
            claims = await app.claim() or claims
    app.allow()
    if not claims:
        names = Keys(NAMESPACE).session(session_id)
        assert app.read("ZSCORE", names.jobs, session_id) is not None
        app.read("ZADD", names.jobs, 0, session_id)
        claims = await app.claim()
    (claim,) = claims
    assert claim.attempt == 1
    await app.finish(claim)


@losses_of("release")
async def test_a_release_that_is_refused_leaves_a_turn_that_is_claimed_later(app: Deployment, rules: list[str]) -> None:
    session_id, _ = await app.log.start("ann", "Hello?")
    (claim,) = await app.claim()
    app.allow(*rules)
    with suppress(StoreUnavailableError):
        await app.jobs.release(claim.lease, counts=False)
    app.allow()
    app.read("ZADD", Keys(NAMESPACE).session(session_id).jobs, "XX", 0, session_id)
    (again,) = await app.claim()
    await app.finish(again)
    assert (await app.log.read(session_id)).state == "idle"


@losses_of("delete")
async def test_a_deletion_that_is_refused_leaves_the_session_as_it_was(app: Deployment, rules: list[str]) -> None:
    session_id, _ = await app.log.start("ann", "Hello?")
    before = await app.view(session_id)
    app.allow(*rules)
    try:
        await app.log.delete(session_id, "ann")
    except StoreUnavailableError:
        app.allow()
        assert await app.view(session_id) == before
        assert await app.answer_all() == [1]
        await app.log.delete(session_id, "ann")
    app.allow()
    assert await app.view(session_id) is None
    assert await app.claim() == []


@losses_of("stop")
async def test_a_stop_that_is_refused_can_be_repeated(app: Deployment, rules: list[str]) -> None:
    session_id, _ = await app.log.start("ann", "Hello?")
    await app.log.submit(session_id, "ann", "Again?")
    for turn in (2, 1):
        before = await app.view(session_id)
        app.allow(*rules)
        try:
            await app.log.stop(session_id, "ann", turn)
        except StoreUnavailableError:
            app.allow()
            assert await app.view(session_id) == before
            await app.log.stop(session_id, "ann", turn)
        app.allow()
    (claim,) = await app.claim()
    assert claim.stop
    await app.finish(claim)
    assert await app.answer_all() == []
