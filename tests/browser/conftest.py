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

# Generous, since the machine may be busy with other tests.
expect.set_options(timeout=15_000)

# A failure that a test scripts is final at once.
NO_HEALING = {"MIDSENTENCE_HEAL_ATTEMPTS": "0"}
ROOT = Path(__file__).parent.parent.parent


# For this package only: Playwright's sync API runs an event loop in this thread, so that no async test can run in it.
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
    """Check that the page was built from the current sources."""
    assert Page(ROOT).is_current, "the page was not built from the current frontend/: scripts/test builds it"


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests: it starts slowly, and each user has sessions of their own."""
    with Upstream() as upstream:
        yield from running(Stack(tmp_path_factory.mktemp("stack"), upstream, settings=NO_HEALING))


@pytest.fixture
def readers(chromium: Browser, built_page: None, stack: Stack) -> Iterator[Readers]:
    """Create users. At the end, none of their tabs may have logged an error or violated the Content Security Policy."""
    stack.upstream.answers.clear()
    stack.upstream.log.clear()
    if not stack.servers[0].is_running:
        stack.start_server()
    with ExitStack() as browsers:
        all_readers: list[Reader] = []

        def new_reader(same_as: Reader | None = None, **options: Any) -> Reader:
            options.setdefault("base_url", stack.base_url)
            context = chromium.new_context(**options)
            browsers.callback(context.close)
            if same_as is not None:
                context.add_cookies(same_as.cookies)
            all_readers.append(Reader(context))
            return all_readers[-1]

        yield new_reader
    assert [error for reader in all_readers for error in reader.errors] == []


@pytest.fixture
def reader(readers: Readers) -> Reader:
    """A user with a browser context of their own."""
    return readers()
