"""The messages of a conversation that the model is sent."""

from collections.abc import Sequence

from midsentence_worker.models.base import Message
from midsentence_worker.models.tokens import message_tokens


def prompt(turns: Sequence[Message], *, system_prompt: str, budget: int) -> list[Message]:
    """Keep the newest turns that fit, whole, into `budget` (estimated) tokens, after the system prompt.

    The system prompt counts too. It is always sent, and so is the newest turn, even if it alone exceeds the budget.
    An empty answer is left out; its question is sent.
    """
    head = [Message("system", system_prompt)] if system_prompt else []
    left = budget - sum(map(message_tokens, head))
    kept: list[Message] = []
    for turn in reversed(_by_turn(turns)):
        left -= sum(map(message_tokens, turn))
        # The first turn that does not fit ends the search: a gap would make the model answer another conversation.
        if kept and left < 0:
            break
        kept[:0] = turn
    return head + kept


def _by_turn(messages: Sequence[Message]) -> list[list[Message]]:
    """Group each user's message with its answer. An answer before the first question is dropped."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user":
            turns.append([message])
        elif turns and message.text:
            turns[-1].append(message)
    return turns
