"""One attempt at an answer: what one model is asked, and what it has brought so far."""

from collections.abc import Sequence

from midsentence.events import AttemptUsage, Usage
from midsentence_worker.models.base import Message, Model
from midsentence_worker.models.tokens import estimated_usage


class Attempt:
    def __init__(
        self,
        model: Model,
        asked: Sequence[Message],
        *,
        before: str = "",
        texts: Sequence[str] = (),
        thoughts: Sequence[str] = (),
        mark: str = "",
        has_reasoning: bool = False,
        is_inherited: bool = False,
    ) -> None:
        """`asked` are the messages that the model is sent.

        `before` is the text that earlier attempts wrote and this one continues. `texts` and `thoughts` are its own, and
        `mark` is the position in the provider's stream behind them: they are given where it goes on with a response.
        `has_reasoning`: readers have reasoning of an attempt that it continues. `is_inherited`: another worker made it.
        """
        self.model = model
        self.asked = asked
        self.before = before
        self.texts = list(texts)
        self.thoughts = list(thoughts)
        self.mark = mark
        self.has_reasoning = has_reasoning
        self.is_inherited = is_inherited
        # Whether a piece of the answer came since this object was made.
        self.has_begun = False
        self.is_resumed = bool(mark)
        # The tokens, estimated, that were paid for before and that it pays for again.
        self.repeated = 0
        # Whether it was left for another one, and what it cost is noted.
        self.is_over = False
        # Whether its model may be able to go on with what it has brought.
        self.can_resume = True

    @property
    def text(self) -> str:
        """All text that readers have, that of the attempts before it included."""
        return self.before + "".join(self.texts)

    @property
    def is_shown(self) -> bool:
        """Whether readers have text or reasoning of this turn."""
        return bool(self.before or self.texts or self.has_reasoning or self.thoughts)

    def usage(self, reported: Usage | None = None) -> AttemptUsage | None:
        """What this attempt cost: as the provider reported it, else estimated. None where it brought nothing."""
        if reported is None:
            if not self.texts and not self.thoughts:
                return None
            reported = estimated_usage(self.asked, "".join(self.thoughts) + "".join(self.texts))
        return AttemptUsage(self.model.name, reported.input_tokens, reported.output_tokens, reported.source)
