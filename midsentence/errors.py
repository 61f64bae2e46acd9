"""What can go wrong between a process and the log. Foreign errors become one of these at the seam (`connection`)."""


class MidsentenceError(Exception):
    """Root of all errors that this package raises on purpose."""


class BadSettingsError(MidsentenceError):
    """A setting cannot be used. The message is one sentence that names the variable."""


class CannotStartError(MidsentenceError):
    """Nothing can be started, or nothing is left to be. The message is one sentence that says what to do."""


class StoreUnavailableError(MidsentenceError):
    """Redis does not answer, or refuses to write (loading, read-only, out of memory). Nothing was acknowledged."""


class SessionNotFoundError(MidsentenceError):
    """The session expired, never existed, or belongs to somebody else: callers cannot tell which."""


class IdempotencyMismatchError(MidsentenceError):
    """The key was used before with another body."""


class QueueFullError(MidsentenceError):
    """As many messages wait in this session as may."""


class SessionBusyError(MidsentenceError):
    """A turn is running, and the message did not want to wait."""


class TurnNotFoundError(MidsentenceError):
    """The session has no such turn."""


class FencedError(MidsentenceError):
    """The turn is no longer this worker's: it ended, was deleted, or another worker took it over.

    Stop paying for it.
    """


class LostTailError(MidsentenceError):
    """The log forgot events that this attempt did not write (a failover).

    Give the turn back; the next epoch goes on.
    """
