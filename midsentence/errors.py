"""The errors of this package. `store` translates Redis' errors into these."""


class MidsentenceError(Exception):
    """Root of all errors that this package raises on purpose."""


class BadSettingsError(MidsentenceError):
    """A setting cannot be used. The message is one sentence that names the variable."""


class CannotStartError(MidsentenceError):
    """A process cannot start. The message is one sentence that says what to do."""


class StoreUnavailableError(MidsentenceError):
    """Redis does not answer, or refuses to write (loading, read-only, out of memory). The request may be repeated."""


class StoreUnusableError(StoreUnavailableError):
    """Redis lacks something that a person has to repair: a right, a command, a setting.

    The message is one sentence that says what is missing and what to do. It names no address and no password, because
    clients are shown it.
    """


class SessionNotFoundError(MidsentenceError):
    """The session expired, never existed, or belongs to another owner. Callers cannot tell which."""


class IdempotencyMismatchError(MidsentenceError):
    """The Idempotency-Key was used before with another body."""


class UnknownModelError(MidsentenceError):
    """A message names a model that is not in the list. The message of this error lists the names."""


class QueueFullError(MidsentenceError):
    """MIDSENTENCE_QUEUE_LIMIT messages wait in the session already."""


class SessionBusyError(MidsentenceError):
    """A turn is running, and the message asked to be rejected then."""


class TurnNotFoundError(MidsentenceError):
    """The session has no such turn."""


class FencedError(MidsentenceError):
    """The turn is no longer this worker's: it ended, was deleted, or another worker took it over.

    The call of the model has to be cancelled.
    """


class LostTailError(MidsentenceError):
    """A failover lost events that an earlier attempt wrote, so this attempt cannot send them again.

    The turn has to be released; the next attempt goes on from the log as it is.
    """
