"""midsentence's producer: the worker's own code starts and claims sessions and appends tokens.

Its CPU time is therefore a worker's cost of appends, without the cost of reading the model's stream.
"""

import asyncio
import sys

import uvloop

from bench.producers.pace import TICK_SECONDS, Orders, Pace, print_line, print_ready
from midsentence.events import Delta, End, Event, Message, Start
from midsentence.fold import Fold
from midsentence.ids import EventId
from midsentence.jobs import Jobs
from midsentence.log import SessionLog
from midsentence.settings import Settings
from midsentence.store.store import Store
from midsentence_worker.append_batcher import AppendBatcher
from midsentence_worker.turn_writer import TurnWriter

OWNER = "bench"
_TEXT = "Go on."
_AT_ONCE = 500


async def writers(log: SessionLog, jobs: Jobs, orders: Orders, batcher: AppendBatcher) -> list[TurnWriter]:
    for begun in range(0, orders.sessions, _AT_ONCE):
        count = min(_AT_ONCE, orders.sessions - begun)
        await asyncio.gather(*(log.start(OWNER, _TEXT) for _ in range(count)))
    made: list[TurnWriter] = []
    while len(made) < orders.sessions:
        for claim in await jobs.claim("bench", "bench", min(_AT_ONCE, orders.sessions - len(made))):
            writer = TurnWriter(claim.lease, claim.seq, batcher)
            writer.begin(_asked(writer))
            writer.add(Start(claim.lease.turn, claim.attempt, "bench"))
            made.append(writer)
    return made


async def wait_until_written(made: list[TurnWriter]) -> None:
    """Return when the log has everything that was added."""
    while any(writer.has_unwritten for writer in made):
        await asyncio.sleep(TICK_SECONDS)
        for writer in made:
            if writer.lost.done():
                raise writer.lost.result()


async def ended(made: list[TurnWriter]) -> None:
    for begun in range(0, len(made), _AT_ONCE):
        await asyncio.gather(*(writer.end(End("stop")) for writer in made[begun : begun + _AT_ONCE]))


def _asked(writer: TurnWriter) -> Fold:
    """The conversation before the answer, which a turn's end includes: the question."""
    fold, turn = Fold(), writer.lease.turn
    fold.apply(Event(EventId(turn, writer.lease.epoch, 0), Message.type, Message("user", _TEXT, turn, 0).encoded()))
    return fold


async def main() -> None:
    orders = Orders.parse()
    settings = Settings.load()
    store = Store(settings)
    log = SessionLog(store)
    batcher = AppendBatcher(log, settings.flush_ms / 1000)
    sending = asyncio.create_task(batcher.run())
    made = await writers(log, Jobs(store), orders, batcher)
    await wait_until_written(made)
    print_ready([writer.lease.session_id for writer in made])
    if await asyncio.to_thread(sys.stdin.readline):
        pace = Pace(orders)
        while not pace.is_over:
            for index, text in pace.due():
                made[index].add(Delta(text.decode()))
            await asyncio.sleep(TICK_SECONDS)
        await wait_until_written(made)
        if orders.end:
            await ended(made)
        print_line(pace.report())
        await asyncio.to_thread(sys.stdin.read)
    sending.cancel()
    await store.aclose()


if __name__ == "__main__":
    uvloop.run(main())
