"""The model that a message names: stored with it, given to the worker that claims its turn, and shown to readers."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from midsentence.errors import IdempotencyMismatchError, SessionNotFoundError, UnknownModelError
from midsentence.events import End, Entry
from midsentence.fold import stored_turn
from midsentence.jobs import Claim, Jobs
from midsentence.log import SessionLog, Write
from midsentence.settings import Settings
from midsentence.store.store import Store
from tests.support.redis_deployments import execute_on_all

pytestmark = pytest.mark.anyio

SECRET = "s" * 16
NAMES = ("first", "org/second:8b", "third")


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    models = tmp_path / "models.toml"
    models.write_text("".join(f'[[models]]\nname = "{name}"\n' for name in NAMES))
    given = {"redis_url": redis_url, "partitions": 4, "queue_limit": 4, "models": str(models), "model": None}
    return Settings.model_validate(given)


async def claimed(jobs: Jobs, names: Sequence[str] = NAMES, worker: str = "w1") -> Claim:
    default, *others = names
    (claim,) = await jobs.claim(worker, default, 64, others=others)
    return claim


async def ended(log: SessionLog, claim: Claim) -> None:
    turn = claim.lease.turn
    folded = stored_turn([Entry(turn, turn - 1, "user", "hello"), Entry(turn, turn - 1, "assistant", "", "stop")])
    await log.write([Write(claim.lease, claim.seq + 1, [(End.type, End("stop").encoded())], folded)])


async def shown(log: SessionLog, session_id: str) -> str | None:
    return (await log.read(session_id)).model


async def messages(log: SessionLog, session_id: str) -> list[Entry]:
    view = await log.read(session_id)
    assert view.fold is not None
    return view.fold.messages()


async def test_named_model_is_claimed_and_shown(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello", model="org/second:8b")
    assert (await claimed(jobs)).model == "org/second:8b"
    assert await shown(log, session_id) == "org/second:8b"
    (entry,) = await messages(log, session_id)
    assert entry.model == "org/second:8b"


async def test_default_model_is_claimed_where_a_message_names_none(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    assert (await claimed(jobs)).model == "first"
    assert await shown(log, session_id) == "first"


async def test_a_name_counts_for_one_message_alone(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello", model="third")
    await log.submit(session_id, "ann", "more")
    await log.submit(session_id, "ann", "and more", model="org/second:8b")
    answered: list[str] = []
    for _ in range(3):
        claim = await claimed(jobs)
        answered.append(claim.model)
        assert await shown(log, session_id) == claim.model
        await ended(log, claim)
    assert answered == ["third", "first", "org/second:8b"]


async def test_a_worker_without_the_named_model_answers_with_its_default(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello", model="third")
    assert (await claimed(jobs, ("fourth", "fifth"))).model == "fourth"
    assert await shown(log, session_id) == "fourth"


async def test_the_next_worker_gets_the_named_model_too(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello", model="third")
    first = await claimed(jobs, ("fourth",))
    await jobs.release(first.lease, counts=True)
    assert (await claimed(jobs, worker="w2")).model == "third"
    assert await shown(log, session_id) == "third"


async def test_a_worker_names_the_model_that_answers_instead(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello", model="third")
    first = await claimed(jobs)
    assert await jobs.name_model(first.lease, "first")
    assert await shown(log, session_id) == "first"
    await jobs.release(first.lease, counts=True)
    await claimed(jobs, worker="w2")
    assert not await jobs.name_model(first.lease, "org/second:8b"), "the turn is another worker's"
    assert await shown(log, session_id) == "third"


async def test_a_stopped_message_keeps_its_model(log: SessionLog, jobs: Jobs) -> None:
    """It passes from the queue into the log, and no worker runs it."""
    session_id, _ = await log.start("ann", "hello")
    await log.submit(session_id, "ann", "more", model="third")
    await log.stop(session_id, "ann", 2)
    await ended(log, await claimed(jobs))
    stopped = [entry for entry in await messages(log, session_id) if entry.turn == 2]
    assert [(entry.role, entry.end) for entry in stopped] == [("user", None), ("assistant", "stopped")]
    assert stopped[0].model == "third"


@pytest.mark.parametrize(
    "text",
    ['x","model":"third', 'x","model":"third","turn":1,"parent":0}', '\\","model":"third', 'x",\n"model":"third"'],
)
async def test_a_text_names_no_model(log: SessionLog, jobs: Jobs, text: str) -> None:
    session_id, _ = await log.start("ann", text)
    assert (await claimed(jobs)).model == "first"
    (entry,) = await messages(log, session_id)
    assert entry.text == text


@pytest.mark.parametrize("name", ["", "fourth", "first ", "FIRST", "a" * 5000, "\0", 'first"'])
async def test_a_model_that_is_not_in_the_list_is_refused(log: SessionLog, jobs: Jobs, store: Store, name: str) -> None:
    with pytest.raises(UnknownModelError, match="name one of first, org/second:8b, third"):
        await log.start("ann", "hello", model=name)
    assert await execute_on_all(store, "KEYS", "*") == [], "no trace of a refused message"
    session_id, _ = await log.start("ann", "hello")
    with pytest.raises(UnknownModelError):
        await log.submit(session_id, "ann", "more", model=name)
    assert (await log.read(session_id)).queued == []
    assert len(await jobs.claim("w1", "first", 64)) == 1


async def test_an_unknown_model_tells_nothing_about_a_strangers_session(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello")
    with pytest.raises(SessionNotFoundError):
        await log.submit(session_id, "bob", "more", model="fourth")


async def test_the_model_is_part_of_what_a_key_names(log: SessionLog) -> None:
    session_id, _ = await log.start("ann", "hello", key="k", secret=SECRET, model="third")
    assert await log.start("ann", "hello", key="k", secret=SECRET, model="third") == (session_id, 1)
    for model in (None, "first"):
        with pytest.raises(IdempotencyMismatchError):
            await log.start("ann", "hello", key="k", secret=SECRET, model=model)
    await log.submit(session_id, "ann", "more", key="m")
    with pytest.raises(IdempotencyMismatchError):
        await log.submit(session_id, "ann", "more", key="m", model="first")


async def test_a_repeated_message_is_found_by_a_server_without_its_model(
    log: SessionLog, store: Store, tmp_path: Path
) -> None:
    """While servers are restarted with another list, the same request may come to one of each."""
    submitted = await log.start("ann", "hello", key="k", secret=SECRET, model="third")
    further = await log.submit(submitted.session_id, "ann", "more", key="m", model="third")
    models = tmp_path / "other.toml"
    models.write_text('[[models]]\nname = "first"')
    given = {"redis_url": store.settings.redis_url, "partitions": 4, "models": str(models), "model": None}
    elsewhere = Store(Settings.model_validate(given))
    there = SessionLog(elsewhere)
    with pytest.raises(UnknownModelError):
        await there.start("ann", "hello", key="another", secret=SECRET, model="third")
    assert await there.start("ann", "hello", key="k", secret=SECRET, model="third") == submitted
    assert await there.submit(submitted.session_id, "ann", "more", key="m", model="third") == further
    await elsewhere.aclose()
