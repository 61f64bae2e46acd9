"""The built-in model: it explains midsentence at reading speed, so that a page can be reloaded in mid-answer."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from midsentence.events import Delta, Reasoning
from midsentence.model_list import DEMO, ModelSpec
from midsentence_worker.models import demo_text
from midsentence_worker.models.base import CannotResumeError, Finish, Message, Piece, Takeover
from midsentence_worker.models.tokens import CJK, estimated_usage

_SPEC = ModelSpec(DEMO, DEMO, api="demo")

_WORDS_A_SECOND = 35
_CHARACTERS_A_SECOND = 40
_LONGEST_ANSWER = 5000
_LONGEST_QUOTE = 60

_CHINESE = re.compile("[\u3400-\u9fff]")
# What a person counts as one: a Chinese character, or a word of any other script. White space belongs to the unit
# before it. It is a unit alone only where an answer that is continued was cut in front of it.
_UNIT = re.compile(rf"[{CJK}]\s*|[^\s{CJK}]+\s*|\s+")
_REQUESTED_LENGTH = re.compile(r"(\d[\d,]{0,8})(?:[\s-]*(?:words?|tokens?)\b|\s*个?(?:字|词))", re.IGNORECASE)


@dataclass(frozen=True)
class _Script:
    greeting: str
    rest: str
    more: tuple[str, ...]
    formatting_sample: str
    reasoning: str


_ENGLISH_SCRIPT = _Script(
    greeting=(
        "You asked “{question}”. I am the demo model: I do not think, I only write at reading speed, "
        "and I was sent {count} of this conversation. "
    ),
    rest=(
        "Reload this page now, while I am still writing. "
        "The answer goes on where it was, and not one word comes twice.\n\n"
        "This is how it works:\n\n"
        "- Your message was written to Redis before the server said “accepted”.\n"
        "- A worker streams my words into a log there, and every piece has an id, such as `1.2-58`.\n"
        "- Your page reads that log. After a break it names the last id that it has, "
        "and the server goes on from there.\n\n"
        "Close the tab, and I finish without you. Open a second one, and both see the same.\n\n"
        "To talk to a real model, start me with the address of any OpenAI-compatible server:\n\n"
        "```sh\n"
        "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 MIDSENTENCE_MODEL=llama3.2 scripts/up\n"
        "```\n\n"
        "Ask me for 500 words if you want more time to pull the plug."
    ),
    more=(
        "The log is the only truth, and all else is a cache of it.",
        "The server that reads to you never talks to a model, and the worker that talks to one never talks to you.",
        "Within one answer the pieces are numbered without a gap, so your page can tell if one is missing.",
        "An id names one piece of text for ever.",
        "A connection that closes says nothing; only the event named end says that an answer is done.",
        "A message that you send while I am writing waits, and is answered next.",
        "Sending the same message twice with the same key asks me once.",
    ),
    formatting_sample=demo_text.ENGLISH_FORMATTING,
    reasoning=demo_text.ENGLISH_REASONING,
)

_CHINESE_SCRIPT = _Script(
    greeting="你问的是“{question}”。我是内置的演示模型：我不会思考，只会按阅读的速度写字；这次对话共有{count}发到我这里。",
    rest=(
        "趁我还在写，请现在就刷新页面：回答会从断开的地方接着写，一个字不多，一个字不少。\n\n"
        "它是这样做到的：\n\n"
        "- 服务器先把你的消息写进 Redis，然后才说“已收到”。\n"
        "- 工作进程把我写的字逐段追加到那里的日志，每一段都有编号，例如 `1.2-58`。\n"
        "- 你的页面读的就是这份日志；断线以后，它报上最后收到的编号，服务器便从那里接着发。\n\n"
        "关掉这个标签页，我会照样写完；再开一个，两边看到的内容完全相同。\n\n"
        "想和真正的模型对话，启动时给出任何一个兼容 OpenAI 接口的地址即可：\n\n"
        "```sh\n"
        "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 MIDSENTENCE_MODEL=qwen3 scripts/up\n"
        "```\n\n"
        "如果想有更多时间来拔网线，就让我写 500 字。"
    ),
    more=(
        "日志是唯一的真相，其余一切都只是它的缓存。",
        "给你发送文字的服务器从不和模型说话，和模型说话的工作进程也从不和你说话。",
        "同一个回答里，各段的编号是连续的，所以你的页面看得出有没有缺漏。",
        "一个编号永远只指同一段文字。",
        "连接断开并不说明什么，只有名为 end 的事件才表示回答已经结束。",
        "我写字的时候你再发来的消息会排队等候，接着就轮到它。",
        "同一条消息带着同一个键发两次，也只会问我一次。",
    ),
    formatting_sample=demo_text.CHINESE_FORMATTING,
    reasoning=demo_text.CHINESE_REASONING,
)


class DemoModel:
    def __init__(self, pace: Callable[[float], Awaitable[object]] = asyncio.sleep, spec: ModelSpec = _SPEC) -> None:
        self._pace = pace
        self._spec = spec

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def takeover(self) -> Takeover:
        return self._spec.takeover_or("continue")

    async def stream(self, messages: Sequence[Message], mark: str = "") -> AsyncGenerator[Piece, None]:
        del mark  # the answer exists in this process alone
        partial = ""
        if messages and messages[-1].role == "assistant":
            *messages, (_, partial) = messages
        reasoning, answer = demo_reasoning(messages), demo_answer(messages)
        if not answer.startswith(partial):
            raise CannotResumeError("the partial answer is not the demo's")
        # The reasoning comes before the text, so where there is text the reasoning is complete.
        for unit in _UNIT.findall("" if partial else reasoning):
            await self._pace(_seconds(unit))
            yield Reasoning(unit)
        for unit in _UNIT.findall(answer[len(partial) :]):
            await self._pace(_seconds(unit))
            yield Delta(unit)
        yield Finish("stop", estimated_usage(messages, reasoning + answer))

    async def warm_up(self) -> None:
        pass

    async def cancel(self, mark: str) -> None:
        del mark  # closing the generator ends the answer

    async def aclose(self) -> None:
        pass


def demo_reasoning(messages: Sequence[Message]) -> str:
    """The reasoning before the answer, always in the same words; empty unless the question asks to think."""
    question = _question(messages)
    return _script(question).reasoning if demo_text.wants_reasoning(question) else ""


def demo_answer(messages: Sequence[Message]) -> str:
    """Answer a conversation, always in the same words, at the length that the question asks for ("200 words").

    A question about tables, code or formulas is answered with a sample of each.
    """
    question = _question(messages)
    script = _script(question)
    chinese = script is _CHINESE_SCRIPT
    sent = sum(message.role != "system" for message in messages)
    count = f" {sent} 条消息" if chinese else f"{sent} message{'' if sent == 1 else 's'}"
    greeting = script.greeting.format(question=_quoted(question), count=count)
    if demo_text.wants_formatting(question):
        whole = f"{greeting.rstrip()}\n\n{script.formatting_sample}"
    else:
        whole = greeting + script.rest
    requested = _REQUESTED_LENGTH.search(question)
    if requested is None:
        return whole
    return _of_length(greeting, whole, script.more, max(1, min(int(requested[1].replace(",", "")), _LONGEST_ANSWER)))


def _question(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _script(question: str) -> _Script:
    return _CHINESE_SCRIPT if _CHINESE.search(question) else _ENGLISH_SCRIPT


def _seconds(unit: str) -> float:
    return 1 / (_CHARACTERS_A_SECOND if re.match(f"[{CJK}]", unit) else _WORDS_A_SECOND)


def _quoted(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1] + "…"


def _of_length(greeting: str, whole: str, more: Sequence[str], length: int) -> str:
    # A cut inside the code block would leave the block open to the end of the page.
    text = whole if _count(whole) <= length else greeting
    size, numbered = _count(text), enumerate(cycle(more), start=1)
    parts = [text.rstrip()]
    while size < length:
        number, sentence = next(numbered)
        parts.append(f"**{number}.** {sentence}")
        size += _count(parts[-1])
    units: list[str] = _UNIT.findall("\n\n".join(parts))
    return "".join(units[:length]).rstrip()


def _count(text: str) -> int:
    return len(_UNIT.findall(text))
