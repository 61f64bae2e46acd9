"""The times of one feed, and what is due by them. The caller gives the time."""

import random

# A published message can be lost unnoticed. To bound how long such a loss lasts, the feed is compared with the log:
# often while an answer is written, rarely while the session is idle, where only the beginning of a turn can be missed.
_POLL_STREAMING_SECONDS = 3.0
_POLL_IDLE_SECONDS = 30.0
# A feed that is not loaded yet is always due; it is checked again this much later.
_MIN_TICK_SECONDS = 0.1
# The frames of an idle session are dropped this long after the last one, or when the log drops them, if that is
# sooner. A reader that comes back later reads the log.
_KEEP_SECONDS = 30.0
# A feed outlives its last reader by this: readers that were cut in the middle of an answer come back soon, all at once.
LINGER_SECONDS = 10.0
# Thousands of streams may fall silent together. Each ping and each poll comes early by a random part up to this, so
# that they spread.
_EARLY = 0.3


class Deadlines:
    __slots__ = (
        "_keep_seconds",
        "_left_at",
        "_ping_seconds",
        "_poll_at",
        "_scale",
        "_subscribe_seconds",
        "frames_at",
        "output_at",
    )

    def __init__(self, now: float, *, ping_seconds: float, replay_seconds: float, redis_timeout_seconds: float) -> None:
        # When frames came, and when the readers were last sent anything.
        self.frames_at = self.output_at = now
        self._left_at = now
        self._scale = _jitter()
        self._poll_at = now + _POLL_STREAMING_SECONDS * self._scale
        self._ping_seconds = ping_seconds
        self._subscribe_seconds = redis_timeout_seconds
        self._keep_seconds = min(replay_seconds, _KEEP_SECONDS)

    def reader_left(self, now: float) -> None:
        self._left_at = now

    def log_read(self, now: float, *, is_idle: bool) -> None:
        self._scale = _jitter()
        self._poll_at = now + (_POLL_IDLE_SECONDS if is_idle else _POLL_STREAMING_SECONDS) * self._scale

    def poll_begun(self, now: float) -> None:
        self._poll_at = now + _POLL_STREAMING_SECONDS

    def is_unused(self, now: float) -> bool:
        """Whether the last reader left long enough ago."""
        return now - self._left_at >= LINGER_SECONDS

    def is_unanswered(self, now: float) -> bool:
        """Whether Redis should have confirmed the first subscription by now."""
        return now - self._left_at >= self._subscribe_seconds

    def is_silent(self, now: float) -> bool:
        """Whether the readers need a ping."""
        return now >= self._ping_due()

    def is_stale(self, now: float) -> bool:
        """Whether the log should be polled."""
        return now >= self._poll_due()

    def is_cold(self, now: float) -> bool:
        """Whether an idle session's frames should be dropped."""
        return now - self.frames_at >= self._keep_seconds

    def next_tick(self, now: float, *, may_cool: bool) -> float:
        """When to check again. `may_cool`: the session is idle and its frames are still kept."""
        due = self._poll_due()
        if may_cool:
            due = min(due, self.frames_at + self._keep_seconds)
        # No more often than necessary: there may be ten thousand feeds.
        return min(max(due, now + _MIN_TICK_SECONDS), self._ping_due(), now + LINGER_SECONDS)

    def _ping_due(self) -> float:
        return self.output_at + self._ping_seconds * self._scale

    def _poll_due(self) -> float:
        # An in-order frame proves that nothing was missed, so it postpones the next poll; by a limited time, because
        # changes of the state are not numbered.
        since_frames = self.frames_at + _POLL_STREAMING_SECONDS * self._scale
        return min(max(self._poll_at, since_frames), self._poll_at + _POLL_IDLE_SECONDS)


def _jitter() -> float:
    return 1 - _EARLY * random.random()  # noqa: S311 - jitter
