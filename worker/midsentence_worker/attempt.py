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
        reasoned: int = 0,
        texts: Sequence[str] = (),
        thoughts: Sequence[str] = (),
        mark: str = "",
        repeated: int = 0,
        is_inherited: bool = False,
    ) -> None:
        """`asked` are the messages that the model is sent.

        `before` is the text that earlier attempts wrote and this one continues, and `reasoned` the length of their
        reasoning. `texts` and `thoughts` are its own, and `mark` is the position in the provider's stream behind them:
        they are given where another worker made the attempt (`is_inherited`). `repeated`: the tokens, estimated, that
        were paid for before and that it pays for again.
        """
        self.model = model
        self.asked = asked
        self.before = before
        self.reasoned = reasoned
        self.texts = list(texts)
        self.thoughts = list(thoughts)
        # Reasoning that readers are not sent: they have that of the attempt which this one continues.
        self.dropped: list[str] = []
        self.mark = mark
        self.repeated = repeated
        self.is_inherited = is_inherited
        # What the provider reported that it cost.
        self.reported: Usage | None = None
        # Whether a piece of the answer came since the model was asked last.
        self.has_begun = False
        # Whether it is read on over another connection.
        self.is_resumed = False
        # Whether it was left for another one, and what it cost is noted.
        self.is_over = False
        # Whether its model may be able to go on with what it has brought.
        self.can_resume = True

    def resume(self) -> None:
        """It is read on from its mark."""
        self.is_resumed = True
        self.has_begun = False
        self.repeated = 0

    @property
    def can_be_read_on(self) -> bool:
        return bool(self.mark) and self.can_resume and self.model.takeover == "reattach"

    @property
    def goes_on(self) -> bool:
        """Whether its model is asked to go on with something that was begun."""
        return self.is_resumed or bool(self.before)

    @property
    def text(self) -> str:
        """All text that readers have, that of the attempts before it included."""
        return self.before + "".join(self.texts)

    @property
    def reasoning_characters(self) -> int:
        """The length of the reasoning that readers have, that of the attempts before it included."""
        return self.reasoned + sum(map(len, self.thoughts))

    @property
    def is_shown(self) -> bool:
        """Whether readers have text or reasoning of this turn."""
        return bool(self.before or self.texts or self.reasoned or self.thoughts)

    def usage(self) -> AttemptUsage | None:
        """What this attempt cost: as the provider reported it, else estimated. None where it brought nothing."""
        usage = self.reported
        if usage is None:
            written = "".join(self.thoughts) + "".join(self.dropped) + "".join(self.texts)
            if not written:
                return None
            usage = estimated_usage(self.asked, written)
        return AttemptUsage(self.model.name, usage.input_tokens, usage.output_tokens, usage.source)
