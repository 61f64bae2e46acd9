"""Tests that need a missing program are left out and counted at the end, since a skip goes unnoticed."""

import os
import shutil
from collections import Counter
from typing import Any, cast

import pytest

PROGRAMS = {
    "needs_nginx": ("nginx",),
    # The headless shell is Chromium without its own windows, which cost half of the time of the tests.
    "needs_chromium": ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
    "needs_redis_server": ("redis-server",),
    "needs_openssl": ("openssl",),
    "needs_docker_compose": ("docker-compose",),
}
REQUIRE_ALL = "MIDSENTENCE_TEST_REQUIRE_ALL"
LEFT_OUT = pytest.StashKey[Counter[str]]()
REFUSAL = pytest.StashKey[str]()


def program(*names: str) -> str | None:
    """Find the first of these that is installed. Debian installs servers in folders outside a user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()
    for marker, names in PROGRAMS.items():
        config.addinivalue_line("markers", f"{marker}: left out where {names[0]} is not installed")


# Last, so that only tests selected by -k and -m are counted and required.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = {marker: names[0] for marker, names in PROGRAMS.items() if program(*names) is None}
    wanting = {item: name for item in items for marker, name in missing.items() if item.get_closest_marker(marker)}
    if not wanting:
        return
    if os.environ.get(REQUIRE_ALL) == "1":
        names = ", ".join(sorted(set(wanting.values())))
        config.stash[REFUSAL] = f"{REQUIRE_ALL}=1, and these programs are missing: {names}"
        raise pytest.UsageError(config.stash[REFUSAL])
    config.stash[LEFT_OUT].update(wanting.values())
    config.hook.pytest_deselected(items=list(wanting))
    items[:] = [item for item in items if item not in wanting]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of pytest-xdist, send the counts and the missing programs to the process that reports them."""
    output = cast("dict[str, Any] | None", getattr(session.config, "workeroutput", None))
    if output is not None:
        output["left_out"] = dict(session.config.stash[LEFT_OUT])
        output["refusal"] = session.config.stash.get(REFUSAL, "")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of such a process. Each process collects all tests, so their counts are the same."""
    output = getattr(node, "workeroutput", None)
    if output is None:  # it crashed
        return
    if output["refusal"]:
        raise pytest.UsageError(output["refusal"])
    node.config.stash[LEFT_OUT] |= Counter(output["left_out"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, count in sorted(config.stash[LEFT_OUT].items()):
        terminalreporter.write_line(f"left out for want of {name}: {count} test{'s' if count > 1 else ''}")
