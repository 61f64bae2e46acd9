"""The hand-written relay's producer: one pipeline of XADDs for all that is due."""

import secrets
import sys
import time
from typing import Any

from redis import Redis

from bench.producers.pace import TICK_SECONDS, Orders, Pace, say, say_ready


def main() -> None:
    orders = Orders.parse()
    # Any, since redis-py's own annotations leave half of every command unknown.
    redis: Any = Redis.from_url(orders.url)  # pyright: ignore[reportUnknownMemberType]
    names = [secrets.token_hex(16) for _ in range(orders.sessions)]
    say_ready(names)
    if sys.stdin.readline():
        pace = Pace(orders)
        while not pace.is_over:
            pipeline = redis.pipeline(transaction=False)
            for index, text in pace.due():
                pipeline.xadd(names[index], {"t": text})
            pipeline.execute()
            time.sleep(TICK_SECONDS)
        say(pace.told())
        sys.stdin.read()
    redis.close()


if __name__ == "__main__":
    main()
