"""What happens to a turn that heals: in a pause, before its new attempt brings anything, and after that.

The tokens wait at a gate, so that each deed falls exactly into its state.
"""

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.conftest import running
from tests.faults.watching import holder, redis_of
from tests.support.client import Transcript, Visitor
from tests.support.keys import KEYS
from tests.support.processes import Stack
from tests.support.upstream import Answer, Upstream
from tests.support.waiting import wait_until

LEASE_SECONDS = 2
FIRST = ["One ", "mind ", "begins", ", ", "断线", "😀", " and ", "breaks", "."]
SECOND = ["Another ", "mind ", "says ", "something ", "else", "。"]
THIRD = ["A ", "third ", "one."]
SHOWN = "".join(FIRST[:5])

MODELS = """
[[models]]
name = "chat"
base_url = "{url}"
takeover = "restart"
[[models]]
name = "continue"
base_url = "{url}"
takeover = "continue"
[[models]]
name = "responses"
base_url = "{url}"
api = "responses"
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    directory = tmp_path_factory.mktemp("healing")
    with Upstream() as upstream:
        models = directory / "models.toml"
        models.write_text(MODELS.format(url=upstream.url))
        settings = {
            "MIDSENTENCE_MODEL": "",
            "OPENAI_BASE_URL": "",
            "MIDSENTENCE_MODELS": str(models),
            "MIDSENTENCE_LEASE_SECONDS": str(LEASE_SECONDS),
            "MIDSENTENCE_DRAIN_SECONDS": "0.5",
            "MIDSENTENCE_BREAKER_FAILURES": "0",
        }
        yield from running(Stack(directory, upstream, workers=2, settings=settings))


@pytest.fixture
def stack(started: Stack) -> Stack:
    started.upstream.reset()
    for worker in started.workers:
        if not worker.is_running:
            worker.start()
    return started


@pytest.fixture
def upstream(stack: Stack) -> Upstream:
    return stack.upstream


class Healing:
    """A turn whose first answer broke after five tokens."""

    def __init__(self, stack: Stack, visitor: Visitor, model: str, state: str) -> None:
        self.stack, self.visitor = stack, visitor
        second, third = (FIRST, FIRST) if model == "continue" else (SECOND, THIRD)
        self.second = Answer(second, gate=True)
        broken = Answer(FIRST, error_after=5) if model == "responses" else Answer(FIRST, cut_after=5)
        after = Answer(status=429, headers={"retry-after": "25"}) if state == "pause" else self.second
        stack.upstream.answers += [broken, after]
        response = visitor.http.post("/sessions", json={"text": "Is anybody there?", "model": model})
        self.session_id = response.json()["session_id"]
        wait_until(lambda: len(stack.upstream.requests) == 2, description="the answer broke and was asked for again")
        wait_until(lambda: self.text == SHOWN, description="readers have the text")
        if state == "begun":
            self.second.release(2)
            begun = "".join(FIRST[:7] if model == "continue" else SECOND[:2])
            wait_until(lambda: self.text == begun, description="the new attempt has begun")
        elif state == "waiting" and model == "responses":
            wait_until(lambda: b"waiting" in self.mark, description="the response that has begun is stored")
        self.expected = self.text
        stack.upstream.answers.append(Answer(third))

    @property
    def text(self) -> str:
        messages = self.visitor.http.get(f"/sessions/{self.session_id}").json()["messages"]
        return messages[-1]["text"] if messages[-1]["role"] == "assistant" else ""

    @property
    def mark(self) -> bytes:
        return self._field("mark")

    @property
    def lease(self) -> bytes:
        return self._field("lease")

    def _field(self, name: str) -> bytes:
        with redis_of(self.stack) as redis:
            found: Any = redis.hget(KEYS.session(self.session_id).meta, name)
        return found or b""

    def check(self) -> Transcript:
        """Read all of it, and check what holds for every turn (8.12, 8.18, 8.19)."""
        transcript = self.visitor.read(self.session_id)
        starts = [event.json["attempt"] for event in transcript.events if event.type == "start"]
        assert transcript.snapshots > 0 or starts == sorted(set(starts))
        wait_until(
            lambda: all(response.is_over for response in self.stack.upstream.responses),
            description="nothing runs at the provider",
        )
        return transcript

    def check_whole(self) -> None:
        self.second.release_all()
        transcript = self.check()
        assert transcript.end() == "stop"
        assert transcript.answer() in {"".join(FIRST), "".join(SECOND), "".join(THIRD)}


def killed(healing: Healing) -> None:
    holder(healing.stack, healing.session_id).kill()


def terminated(healing: Healing) -> None:
    worker = holder(healing.stack, healing.session_id)
    worker.process.terminate()
    worker.process.wait(10)


def lost(healing: Healing) -> None:
    """The worker is paused until another one has its lease, and runs on."""
    worker = holder(healing.stack, healing.session_id)
    before = healing.lease
    worker.pause()
    wait_until(lambda: healing.lease != before, description="another worker took the turn over")
    worker.resume()


def redis_restarted(healing: Healing) -> None:
    redis = healing.stack.redis
    redis.stop()
    redis.start()


def redis_paused(healing: Healing) -> None:
    healing.stack.redis.pause()
    time.sleep(LEASE_SECONDS * 1.5)
    healing.stack.redis.resume()


STATES = ["pause", "waiting", "begun"]
EACH = [(state, model) for state in STATES for model in ("chat", "continue", "responses")]
SOME = [("pause", "chat"), ("waiting", "responses"), ("begun", "chat")]
DEEDS: list[tuple[Callable[[Healing], None], str, str]] = [
    *((killed, *each) for each in EACH),
    *((deed, *each) for deed in (terminated, lost, redis_restarted) for each in SOME),
    (redis_paused, "waiting", "chat"),
]


@pytest.mark.parametrize(("deed", "state", "model"), DEEDS)
def test_turn_that_heals_survives(
    stack: Stack, visitor: Visitor, deed: Callable[[Healing], None], state: str, model: str
) -> None:
    healing = Healing(stack, visitor, model, state)
    deed(healing)
    healing.check_whole()


@pytest.mark.parametrize(("state", "model"), EACH)
def test_turn_that_heals_can_be_stopped(stack: Stack, visitor: Visitor, state: str, model: str) -> None:
    healing = Healing(stack, visitor, model, state)
    response = visitor.http.post(f"/sessions/{healing.session_id}/stop")
    assert response.status_code == 200, response.text
    transcript = healing.check()
    assert (transcript.answer(), transcript.end()) == (healing.expected, "stopped")


@pytest.mark.parametrize(("state", "model"), SOME)
def test_turn_that_heals_can_be_interrupted(stack: Stack, visitor: Visitor, state: str, model: str) -> None:
    healing = Healing(stack, visitor, model, state)
    url = f"/sessions/{healing.session_id}/messages"
    assert visitor.http.post(url, json={"text": "And now?", "on_busy": "interrupt"}).status_code == 202
    transcript = healing.check()
    assert (transcript.answer(1), transcript.end(1)) == (healing.expected, "stopped")
    assert (transcript.answer(2), transcript.end(2)) == ("".join(FIRST if model == "continue" else THIRD), "stop")


@pytest.mark.parametrize(("state", "model"), SOME)
def test_turn_that_heals_can_be_deleted(stack: Stack, visitor: Visitor, state: str, model: str) -> None:
    """The worker leaves it when it renews its leases, and asks nobody again."""
    healing = Healing(stack, visitor, model, state)
    asked = len(stack.upstream.requests)
    assert visitor.http.delete(f"/sessions/{healing.session_id}").status_code == 204
    if state != "pause":
        last = stack.upstream.requests[-1]
        wait_until(lambda: last.disconnected, description="the worker left the provider's stream")
    wait_until(lambda: all(each.is_over for each in stack.upstream.responses), description="nothing runs on")
    assert len(stack.upstream.requests) == asked
