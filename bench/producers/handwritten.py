"""The hand-written relay's producer: one pipeline of XADDs for all tokens that are due."""

import secrets
import sys
import time
from typing import Any

from redis import Redis

from bench.producers.pace import TICK_SECONDS, Orders, Pace, print_line, print_ready


def main() -> None:
    orders = Orders.parse()
    # Any, because redis-py's annotations leave the results of its commands partly unknown.
    redis: Any = Redis.from_url(orders.url)  # pyright: ignore[reportUnknownMemberType]
    names = [secrets.token_hex(16) for _ in range(orders.sessions)]
    print_ready(names)
    if sys.stdin.readline():
        pace = Pace(orders)
        while not pace.is_over:
            pipeline = redis.pipeline(transaction=False)
            for index, text in pace.due():
                pipeline.xadd(names[index], {"t": text})
            pipeline.execute()
            time.sleep(TICK_SECONDS)
        print_line(pace.report())
        sys.stdin.read()
    redis.close()


if __name__ == "__main__":
    main()
