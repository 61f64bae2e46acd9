"""How pytest-xdist runs the whole suite: in several processes, the longest groups of tests first."""

import re

import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs]
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs]

# The suite waits more than it computes: with more processes than cores, one computes while others wait.
PROCESSES = 5
# Tests of one group run in one process, one after the other. Those of a browser group share a Chromium and its servers,
# those of the log share a store. Those under load have dozens of sessions each, so they must not slow each other down.
GROUPS = {
    "cluster": re.compile(r"tests/redis/test_cluster"),
    "under load": re.compile(r"tests/(redis/|faults/test_(chaos|rolling_restart))"),
    "sending": re.compile(r"tests/browser/test_(accessibility|input|sending|session_list)"),
    "browser": re.compile(r"tests/browser/"),
    "log on a cluster": re.compile(r"tests/log/.*\[cluster\b"),
    "log": re.compile(r"tests/log/"),
}
# The longest groups start first, so that no process works alone at the end.
LONGEST_FIRST = (
    "under load",
    "browser",
    "sending",
    "tests/faults/test_takeover.py",
    "tests/topology/test_protocol_through_nginx.py",
    "tests/faults/test_workers.py",
    "log on a cluster",
    "log",
    "tests/faults/test_servers.py",
    "tests/faults/test_cursors.py",
    "tests/faults/test_model_faults.py",
    "tests/faults/test_stop.py",
    "tests/page/test_units.py",
    "tests/page/test_build.py",
    "tests/topology/test_topology.py",
    "tests/up/test_end_to_end.py",
)
# Its bounds on gaps are the tightest beside the load of its own three nodes, so it runs when the others are done.
LAST = "cluster"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run a selection in this process: it ends before other processes would have collected their tests."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_selected = config.option.keyword or config.option.markexpr
    return PROCESSES if is_whole and not is_selected else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Scheduler(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {group: number for number, group in enumerate(LONGEST_FIRST)}
    rank[LAST] = len(rank) + 1
    items.sort(key=lambda item: rank.get(group(item.nodeid), len(rank) - 1))


def group(nodeid: str) -> str:
    """The group of a test: the tests of its module, unless `GROUPS` lists another group."""
    named = (name for name, pattern in GROUPS.items() if pattern.match(nodeid))
    return next(named, nodeid.partition("::")[0])


class _Scheduler(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
