"""Keys that are not as they should be: one broken session stops no other, and a lost job is made again."""

import pytest
from structlog.testing import capture_logs

from midsentence.jobs import Jobs, Renewal
from midsentence.keys import SessionKeys
from midsentence.log import SessionLog
from midsentence.store.scripts import command
from midsentence.store.store import Store

pytestmark = pytest.mark.anyio

BROKEN = {
    "text": [("DEL", "{meta}"), ("SET", "{meta}", "no hash", "PX", "60000")],
    "stream": [("DEL", "{meta}"), ("XADD", "{meta}", "1-1", "a", "b"), ("PEXPIRE", "{meta}", "60000")],
}
# Fields that are taken from the log instead.
REPAIRED = {
    "without a turn": [("HDEL", "{meta}", "turn")],
    "without an epoch": [("HDEL", "{meta}", "epoch")],
    "with another top": [("HSET", "{meta}", "top", "not an id")],
    "with another epoch": [("HSET", "{meta}", "epoch", "first")],
    "without its run": [("HDEL", "{meta}", "base")],
}


async def break_keys(store: Store, names: SessionKeys, how: str) -> None:
    for words in (BROKEN | REPAIRED)[how]:
        await store.execute(command(*(word.format(meta=names.meta) for word in words)))


async def in_one_partition(log: SessionLog, count: int) -> list[str]:
    found: dict[str, list[str]] = {}
    while True:
        session_id, _ = await log.start("ann", "hello")
        ids = found.setdefault(session_id[:2], [])
        ids.append(session_id)
        if len(ids) == count:
            return ids


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_session_does_not_keep_the_others_of_its_partition_waiting(
    log: SessionLog, jobs: Jobs, store: Store, how: str
) -> None:
    ids = await in_one_partition(log, 3)
    for session_id in ids[:2]:
        names = store.keys.session(session_id)
        await break_keys(store, names, how)
        await store.execute(command("ZADD", names.jobs, 0, session_id))
    claimed: list[str] = []
    with capture_logs() as logs:
        # One at a time: the broken ones stand in front.
        for _ in range(len(ids)):
            claims = await jobs.claim("w1", "demo", 1, [int(ids[0][:2], 16)])
            claimed.extend(claim.lease.session_id for claim in claims)
    assert ids[2] in claimed
    assert not {*ids[:2]} & {*claimed}
    assert [line["event"] for line in logs] == ["session_unclaimable"]
    assert logs[0]["session"] in ids


@pytest.mark.parametrize("how", REPAIRED)
async def test_a_field_that_cannot_be_read_is_taken_from_the_log(
    log: SessionLog, jobs: Jobs, store: Store, how: str
) -> None:
    session_id, _ = await log.start("ann", "hello")
    await break_keys(store, store.keys.session(session_id), how)
    (claim,) = await jobs.claim("w1", "demo", 10)
    assert (claim.lease.session_id, claim.lease.turn, claim.lease.epoch > 0, claim.seq) == (session_id, 1, True, 0)
    view = await log.read(session_id)
    assert (view.turn, view.state, str(view.top)) == (1, "streaming", "1.0-0")


@pytest.mark.parametrize("member", ["", "jobs", "not an id", "x" * 24, "\x00\xff"])
async def test_a_job_that_names_no_session_is_removed(log: SessionLog, jobs: Jobs, store: Store, member: str) -> None:
    session_id, _ = await log.start("ann", "hello")
    names = store.keys.session(session_id)
    await store.execute(command("ZADD", names.jobs, 0, member))
    (claim,) = await jobs.claim("w1", "demo", 10)
    assert claim.lease.session_id == session_id
    assert await store.execute(command("ZCARD", names.jobs)) == [1]


@pytest.mark.parametrize("how", ["text", "stream"])
async def test_a_broken_session_does_not_keep_the_others_from_being_trimmed(
    jobs: Jobs, log: SessionLog, store: Store, how: str
) -> None:
    session_id, _ = await log.start("ann", "hello")
    names = store.keys.session(session_id)
    await break_keys(store, names, how)
    await store.execute(command("ZADD", names.trims, 0, session_id), command("PEXPIRE", names.trims, 60_000))
    assert await jobs.trim() == 1
    assert await jobs.trim() == 0


@pytest.mark.parametrize("kind", ["log", "seen", "jobs"])
async def test_a_message_is_refused_where_a_key_has_another_type(log: SessionLog, store: Store, kind: str) -> None:
    """Nothing of it remains: it runs once when the key is as it should be."""
    once = await log.start("ann", "hello", key="k", secret="s" * 16)
    names = store.keys.session(once.session_id)
    await store.execute(command("DEL", *(name for name in names if name not in (names.live, names.wake))))
    wrong = getattr(names, kind)
    await store.execute(command("SET", wrong, "another program's", "PX", 60_000))
    with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind of value|wrong type"):
        await log.start("ann", "hello", key="k", secret="s" * 16)
    await store.execute(command("DEL", wrong))
    assert await Jobs(store).claim("w1", "demo", 1) == []
    assert await log.start("ann", "hello", key="k", secret="s" * 16) == once
    assert len(await Jobs(store).claim("w1", "demo", 1)) == 1


async def test_a_message_that_is_repeated_makes_a_lost_job_again(log: SessionLog, jobs: Jobs, store: Store) -> None:
    """Redis may have evicted the key of the jobs."""
    session_id, _ = once = await log.start("ann", "hello", key="k", secret="s" * 16)
    await store.execute(command("DEL", store.keys.session(session_id).jobs))
    assert await jobs.claim("w1", "demo", 1) == []
    assert await log.start("ann", "hello", key="k", secret="s" * 16) == once
    assert len(await jobs.claim("w1", "demo", 1)) == 1


async def test_a_message_to_a_running_session_makes_no_turn_claimable(log: SessionLog, jobs: Jobs) -> None:
    session_id, _ = await log.start("ann", "hello")
    await jobs.claim("w1", "demo", 1)
    await log.submit(session_id, "ann", "second")
    assert await jobs.claim("w2", "demo", 1) == []


async def test_a_renewal_makes_a_lost_job_again(log: SessionLog, jobs: Jobs, store: Store) -> None:
    """Without its job a turn could not be taken over when its worker dies."""
    session_id, _ = await log.start("ann", "hello")
    (claim,) = await jobs.claim("w1", "demo", 1)
    names = store.keys.session(session_id)
    await store.execute(command("DEL", names.jobs))
    assert await jobs.renew([claim.lease]) == [Renewal.HELD]
    assert await store.execute(command("ZCARD", names.jobs)) == [1]
    (milliseconds,) = await store.execute(command("PTTL", names.jobs))
    assert milliseconds > 0


async def test_jobs_of_another_type_are_reported(log: SessionLog, jobs: Jobs, store: Store) -> None:
    session_id, _ = await log.start("ann", "hello")
    names = store.keys.session(session_id)
    await store.execute(command("SET", names.jobs, "another program's", "PX", 60_000))
    with capture_logs() as logs:
        assert await jobs.claim("w1", "demo", 10) == []
    assert [(line["event"], line["jobs"]) for line in logs] == [("partition_unclaimable", names.jobs)]
    await store.execute(command("DEL", names.jobs))
