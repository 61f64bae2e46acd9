"""Reasoning that a server leaves in the text: `<think>…</think>` before the answer.

DeepSeek's R1, its distils, Qwen and others write so, and a server without a reasoning parser passes it on. The rule:
a tag counts at the very beginning of the answer alone, behind white space at most, so that an answer about tags stays
as it is. What stands in the tags is reasoning. White space behind the closing tag is dropped, and a closing tag without
an opening one is dropped at the beginning. Further on it stays: what came before it was sent as text already.
"""

from typing import Self

_PAIRS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|think|>", "<|/think|>"),
    ("[think]", "[/think]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),  # MiniMax
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    # The channels of gpt-oss (harmony).
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
# Within a tag: its number, and whether no reasoning came yet.
_STATES = tuple(str(number) for number in range(len(_PAIRS)))
_BLANK = "b"
# Between a closing tag and the text.
_BEHIND = "-"
_CLOSING = dict(_PAIRS)
_TAGS = tuple(tag for pair in _PAIRS for tag in pair)
_LONGEST_TAG = max(map(len, _TAGS))
# White space that precedes a tag is held with it. This much of it is no layout any more.
_LONGEST_SPACE = 256


class ThinkTags:
    """Splits the text of one answer. It is of use until `has_ended`; after that all text is text."""

    def __init__(self) -> None:
        self.has_ended = False
        # The beginning of the text, until it is known not to begin a tag; within the tags, the beginning of the
        # closing one.
        self._held = ""
        # The tag that is awaited.
        self._closing = ""
        # White space at the beginning of the reasoning. It is dropped if nothing follows: a model that was told not to
        # reason writes empty tags.
        self._indent: str | None = None
        # A tag has come, so white space before the text is dropped.
        self._is_behind_tag = False

    @classmethod
    def resumed(cls, state: str) -> Self:
        """The tags of an answer that goes on where `state` was read. Raises ValueError."""
        tags = cls()
        if state:
            tags._closing = "" if state == _BEHIND else _PAIRS[_STATES.index(state[:1])][1]
            tags._indent = "" if state[1:] == _BLANK else None
            tags._is_behind_tag = True
        return tags

    @property
    def state(self) -> str:
        """What the next text depends on beside itself, where nothing is held; empty before any tag and after them."""
        if self._closing:
            return _STATES[list(_CLOSING.values()).index(self._closing)] + ("" if self._indent is None else _BLANK)
        return _BEHIND if self._is_behind_tag and not self.has_ended else ""

    @property
    def is_holding(self) -> bool:
        """Whether a part of the text so far is held."""
        return bool(self._held or self._indent)

    def split(self, text: str) -> tuple[str, str]:
        """Take the next text. Returns the reasoning and the text that follows it."""
        thought, text = "", self._held + text
        self._held = ""
        while not self.has_ended:
            if self._closing:
                more, found, text = self._until_closing(text)
                thought += self._indented(more)
                if not found:
                    return thought, ""
                self._closing = ""
            elif not (tag := self._leading_tag(text)):
                break
            else:
                text = text.lstrip()[len(tag) :]
                self._closing, self._indent = _CLOSING.get(tag, ""), ""
                self._is_behind_tag = True
        if self._held:
            return thought, ""
        return thought, text.lstrip() if self._is_behind_tag else text

    def flush(self) -> tuple[str, str]:
        """The reasoning and the text that are held at the end of the answer."""
        held, self._held = self._held, ""
        self.has_ended = True
        if self._closing:
            return self._indented(held), ""
        return "", held.lstrip() if self._is_behind_tag else held

    def _leading_tag(self, text: str) -> str:
        """The tag that the text begins with. Where it may become one, the text is held; where not, this has ended."""
        stripped = text.lstrip()
        begun = stripped[:_LONGEST_TAG].lower()
        if self._is_behind_tag:
            text = stripped
        elif len(text) - len(stripped) > _LONGEST_SPACE:
            self.has_ended = True
            return ""
        for tag in _TAGS:
            if begun.startswith(tag):
                return tag
        if any(tag.startswith(begun) for tag in _TAGS):
            self._held = text
        else:
            self.has_ended = True
        return ""

    def _until_closing(self, text: str) -> tuple[str, bool, str]:
        """The reasoning, whether the closing tag came, and what follows it."""
        lower = text.lower() if text.isascii() else _lower(text)
        at = lower.find(self._closing)
        if at >= 0:
            return text[:at], True, text[at + len(self._closing) :]
        for length in range(min(len(self._closing) - 1, len(text)), 0, -1):
            if lower.endswith(self._closing[:length]):
                self._held = text[-length:]
                return text[:-length], False, ""
        return text, False, ""

    def _indented(self, thought: str) -> str:
        if self._indent is None:
            return thought
        thought = self._indent + thought
        if not thought.strip():
            self._indent = thought[:_LONGEST_SPACE]
            return ""
        self._indent = None
        return thought


def _lower(text: str) -> str:
    """Lower the letters of ASCII alone: `İ` in lower case is two characters, so positions would not fit."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
