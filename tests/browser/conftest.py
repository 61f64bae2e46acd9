from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from frontend.build import Page
from tests.browser.chat import Reader, Readers
from tests.conftest import running
from tests.support.processes import Stack
from tests.support.requirements import PROGRAMS, program
from tests.support.upstream import Upstream

# Patience for a busy machine. Most conditions hold long before.
expect.set_options(timeout=15_000)

ROOT = Path(__file__).parent.parent.parent


# Not for the session: Playwright's sync API runs an event loop in this thread, so no async test can run beside it.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Containers have a small /dev/shm, and no user namespaces for the sandbox.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program(*PROGRAMS["needs_chromium"]), args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def built_page() -> None:
    """Without it, the tests would run against a page built from other sources."""
    assert Page(ROOT).is_current, "the page was not built from what frontend/ holds now: scripts/test builds it"


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Starting the processes takes longer than most of these tests; readers have sessions of their own."""
    with Upstream() as upstream:
        yield from running(Stack(tmp_path_factory.mktemp("stack"), upstream))


@pytest.fixture
def readers(chromium: Browser, built_page: None, stack: Stack) -> Iterator[Readers]:
    """Make readers, each with a browser context. At the end, no page may have violated its own policy."""
    stack.upstream.answers.clear()
    stack.upstream.log.clear()
    if not stack.servers[0].is_running:
        stack.start_server()
    with ExitStack() as browsers:
        everybody: list[Reader] = []

        def somebody(same_as: Reader | None = None, **options: Any) -> Reader:
            options.setdefault("base_url", stack.base_url)
            context = chromium.new_context(**options)
            browsers.callback(context.close)
            if same_as is not None:
                context.add_cookies(same_as.cookies)
            everybody.append(Reader(context))
            return everybody[-1]

        yield somebody
    assert [complaint for reader in everybody for complaint in reader.complaints] == []


@pytest.fixture
def reader(readers: Readers) -> Reader:
    """A reader with a cookie jar of its own."""
    return readers()
