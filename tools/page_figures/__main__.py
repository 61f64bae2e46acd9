"""Measures what the page costs a browser and writes docs/page.md, in about four minutes.

`scripts/page-figures` runs it. The machine should do nothing else meanwhile, because server, model and browser
share its processors.
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

`scripts/page-figures` measured these figures and wrote this page, in {browser} on {cores} processors ({machine}). \
Server, worker, model and browser shared those processors, and the times belong to that machine. Tests hold what can \
be counted: the size of the scripts, how much of a text is parsed again, and how many elements a long session has.

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
    yield Row("first paint of a cached page", "≤ 300 ms", f"{paint:.0f} ms", paint <= 300)
    opened = measures.open_session(browser, stack)
    yield Row(
        "a session of 200 messages: until its last answer is shown", "≤ 500 ms", f"{opened:.0f} ms", opened <= 500
    )
    for name, text in SHAPES.items():
        found = measures.stream(browser, stack, text)
        what = f"20,000 tokens at {found.tokens_a_second:.0f} a second, {name}: worst frame"
        shown = f"{found.worst_frame:.0f} ms; long tasks {found.long_tasks:.0f} ms of {found.seconds:.0f} s"
        yield Row(what, "≤ 100 ms", shown, found.worst_frame <= 100)
    for turns in (measures.LONG_MESSAGES // 20, measures.LONG_MESSAGES // 2):
        held = measures.long_session(browser, stack.base_url, measures.turns_stream(turns), turns)
        what = f"a tab that received {turns * 2:,} messages: elements, JavaScript memory"
        yield Row(what, "≤ 5,000", f"{held.elements:,}; {held.heap:.1f} MB", held.elements <= 5000)


if __name__ == "__main__":
    main()
