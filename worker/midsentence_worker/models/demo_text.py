r"""What the demo model answers when it is asked to show formatting, or to think first.

Mathematics is between \(…\) and \[…\], as most models write it.
"""

import re

_ASKS_FOR_FORMATTING = re.compile(
    # Not \b: a Chinese character beside an English word is a letter too.
    "(?<![a-z])(?:tables?|code|math[a-z]*|formulas?|formulae|markdown)(?![a-z])|表格|代码|公式|数学|排版",
    re.IGNORECASE,
)
_ASKS_TO_THINK = re.compile("think|reason|思考|推理", re.IGNORECASE)

ENGLISH_FORMATTING = r"""Here is one of each thing that a page has to render.

| What breaks | What the reader loses |
|:--|--:|
| the tab | nothing |
| the server | nothing |
| the worker | a moment |

A log that takes every piece **once**, however often it is sent:

```python
def append(log: list[str], number: int, piece: str) -> None:
    if number == len(log):
        log.append(piece)
    elif number > len(log):
        raise ValueError(f"{number - len(log)} pieces are missing")
```

At each of \(n\) pieces the connection breaks with probability \(p\). Beginning anew after every break takes

\[
E = \sum_{k=0}^{n-1} \frac{1}{(1-p)^{n-k}} = \frac{(1-p)^{-n} - 1}{p}
\]

pieces on average; going on takes \(\frac{n}{1-p}\). With \(n = 1000\), \(p = 0.01\): 2.3 million against 1,010.

1. Ask.
   - Your message is in the log before the server says “accepted”.
   - So is your place in the queue.
2. Reload in the middle of the formula.
   - The page names the last id that it has:
     - where the log holds it, the text goes on behind it;
     - where not, you get all there is.

> An id names one content for ever.

The rules of such a stream are in [the HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

CHINESE_FORMATTING = r"""页面要会显示的东西，这里每样来一个。

| 断掉的是 | 读者丢掉的是 |
|:--|--:|
| 标签页 | 没有 |
| 服务器 | 没有 |
| 工作进程 | 片刻 |

一份日志，同一段不论发来几次，都只写**一次**：

```python
def append(log: list[str], number: int, piece: str) -> None:
    if number == len(log):
        log.append(piece)
    elif number > len(log):
        raise ValueError(f"缺了 {number - len(log)} 段")
```

设一共 \(n\) 段，每一段断线的概率都是 \(p\)。断一次就从头再来，平均要收

\[
E = \sum_{k=0}^{n-1} \frac{1}{(1-p)^{n-k}} = \frac{(1-p)^{-n} - 1}{p}
\]

段；从断开处接着收，只要 \(\frac{n}{1-p}\) 段。取 \(n = 1000\)、\(p = 0.01\)，前者约二百三十万，后者一千零一十。

1. 提问。
   - 服务器说“已收到”之前，消息已经写进日志。
   - 排队的位置也一样。
2. 公式写到一半，刷新页面。
   - 页面报上最后收到的编号：
     - 日志里有它，就从它后面接着写；
     - 没有，就把全文给你。

> 一个编号永远只指同一段内容。

这种流的规则见 [HTML 标准](https://html.spec.whatwg.org/multipage/server-sent-events.html)。"""

ENGLISH_REASONING = (
    "I am asked to think first. I am a demo and cannot, but I can show where a thought goes: before the answer, and "
    "beside it, never into it. These sentences are the same every time, so that nobody has to believe me that none "
    "comes twice. If the worker dies now, there is no text to go on from, and the next one begins this thought anew. "
    "If it dies later, the thought stands, and only the text goes on. Either way it is read once. That will do: "
    "now I answer."
)
CHINESE_REASONING = (
    "要我先想一想。我是演示模型，不会思考，但可以让人看到思考放在哪里：在回答之前，在回答旁边，绝不混进正文。"
    "这几句话每次都一样，有没有重复，一看便知。工作进程如果现在死掉，还没有正文可接，下一个就把这段从头想起；"
    "如果晚一些才死，这段留着，只有正文接着写。无论如何，读到的都只有一遍。想好了，开始回答。"
)


def wants_formatting(question: str) -> bool:
    return _ASKS_FOR_FORMATTING.search(question) is not None


def wants_reasoning(question: str) -> bool:
    return _ASKS_TO_THINK.search(question) is not None
