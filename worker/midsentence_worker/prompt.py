"""What of a conversation the model is sent."""

from collections.abc import Sequence

from midsentence_worker.models.base import Message
from midsentence_worker.models.tokens import message_tokens


def prompt(turns: Sequence[Message], *, system_prompt: str, budget: int) -> list[Message]:
    """Keep the newest turns that fit, whole, into `budget` (estimated) tokens, after the system prompt.

    The system prompt counts and always stays; so does the newest turn, even where it alone is over the budget.
    An empty answer is left out, its question stays.
    """
    head = [Message("system", system_prompt)] if system_prompt else []
    left = budget - sum(map(message_tokens, head))
    kept: list[Message] = []
    for turn in reversed(_by_turn(turns)):
        left -= sum(map(message_tokens, turn))
        # A hole would make the model answer a conversation that never was, so the first that does not fit ends it.
        if kept and left < 0:
            break
        kept[:0] = turn
    return head + kept


def _by_turn(messages: Sequence[Message]) -> list[list[Message]]:
    """Group each user's message with its answer. What stands before the first belongs to no question and is dropped."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user":
            turns.append([message])
        elif turns and message.text:
            turns[-1].append(message)
    return turns
