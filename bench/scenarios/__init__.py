"""All scenarios, in the order in which they run."""

from bench.scenario import Scenario
from bench.scenarios import capacity, fanout, fast, growth, house, idle, post, relay, replay, storm, two

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (relay, fanout, fast, idle, storm, replay, post, growth, two, house, capacity)
}
