"""Measures what the page costs a browser, and writes docs/page.md, in some four minutes.

`scripts/page-figures` runs it. Times belong to the machine, which should do nothing else meanwhile: server, model and
browser share its processors.
"""

import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import running
from tests.support.processes import Stack
from tests.support.requirements import PROGRAMS, program
from tests.support.upstream import Upstream
from tools.page_figures import measures
from tools.page_figures.shapes import SHAPES

_OUT = Path(__file__).parents[2] / "docs" / "page.md"
_HEAD = """# What the page costs

`scripts/page-figures` measured this and wrote it, in {browser} on {cores} processors ({machine}), with server, worker,
model and browser on the same ones. The times belong to that machine. What can be counted (the size of the scripts, how
much of a text is parsed again, how much a long session holds) is held by tests.

| what | goal | measured | met |
|---|---:|---:|---|
"""


class Row(NamedTuple):
    what: str
    goal: str
    measured: str
    is_met: bool


def main() -> None:
    chromium = program(*PROGRAMS["needs_chromium"])
    if chromium is None:
        raise SystemExit("Chromium is needed: install it (on Debian and Ubuntu: apt install chromium fonts-noto-cjk).")
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--enable-precise-memory-info"]
    with tempfile.TemporaryDirectory() as directory, Upstream() as upstream, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        rows: list[Row] = []
        for stack in running(Stack(Path(directory), upstream)):
            for row in measured(browser, stack):
                rows.append(row)
                print(f"{row.what}: {row.measured}", flush=True)
        version = browser.version
        browser.close()
    head = _HEAD.format(browser=f"Chromium {version}", cores=os.cpu_count(), machine=platform.machine())
    lines = (f"| {row.what} | {row.goal} | {row.measured} | {'yes' if row.is_met else '**no**'} |\n" for row in rows)
    _OUT.write_text(head + "".join(lines))
    print(f"Written to {_OUT}")


def measured(browser: Browser, stack: Stack) -> Iterator[Row]:
    size = measures.initial_scripts() / 1024
    yield Row("JavaScript before anything is shown, gzipped", "≤ 90 KiB", f"{size:.1f} KiB", size <= 90)
    paint = measures.first_paint(browser, stack.base_url)
    yield Row("first paint, the page being cached", "≤ 300 ms", f"{paint:.0f} ms", paint <= 300)
    opened = measures.open_session(browser, stack)
    yield Row("a session of 200 messages, to its last answer", "≤ 500 ms", f"{opened:.0f} ms", opened <= 500)
    for name, text in SHAPES.items():
        found = measures.stream(browser, stack, text)
        what = f"20,000 tokens at {found.tokens_a_second:.0f} a second, {name}: worst frame"
        shown = f"{found.worst_frame:.0f} ms; long tasks {found.long_tasks:.0f} ms of {found.seconds:.0f} s"
        yield Row(what, "≤ 100 ms", shown, found.worst_frame <= 100)
    for turns in (measures.LONG_MESSAGES // 20, measures.LONG_MESSAGES // 2):
        held = measures.long_session(browser, stack.base_url, measures.told(turns), turns)
        what = f"a tab that was told {turns * 2:,} messages: elements, memory of JavaScript"
        yield Row(what, "≤ 5,000", f"{held.elements:,}; {held.heap:.1f} MB", held.elements <= 5000)


if __name__ == "__main__":
    main()
