"""Take the README's pictures of the page: both themes, desktop and phone, English and Chinese.

`scripts/screenshots` runs it, with the built page, real processes and the demo model.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import running
from tests.support.processes import Stack
from tests.support.requirements import PROGRAMS, program
from tests.support.upstream import Upstream

LONG_ENOUGH = "(length) => document.querySelector('.reply .answer').textContent.length >= length"
DIRECTORY = Path(__file__).parents[1] / "docs" / "screenshots"


@dataclass(frozen=True)
class Picture:
    name: str
    locale: Literal["en-GB", "zh-CN"]
    theme: Literal["light", "dark"]
    size: tuple[int, int]
    is_phone: bool
    # Each is asked in a conversation of its own; the picture shows the last.
    questions: tuple[str, ...]
    # The length of the last answer when the picture is taken, in characters; None for all of it.
    shown: int | None


ENGLISH = (
    "Why do streams break, and what does it take to mend one?",
    "A haiku about patience",
    "Think first: how would you number the events of a log?",
    "Show me a table, some code and a formula.",
)
CHINESE = (
    "溪流为什么会断，又怎样接上？",
    "写一首关于耐心的诗",
    "先思考再回答：日志里的事件该怎样编号？",
    "给我看一张表格、一段代码和一个公式。",
)
PICTURES = (
    Picture("desktop-light-en", "en-GB", "light", (1280, 860), is_phone=False, questions=ENGLISH, shown=None),
    Picture("desktop-dark-zh", "zh-CN", "dark", (1280, 860), is_phone=False, questions=CHINESE, shown=None),
    Picture("phone-light-zh", "zh-CN", "light", (390, 780), is_phone=True, questions=CHINESE[-1:], shown=150),
    Picture("phone-dark-en", "en-GB", "dark", (390, 780), is_phone=True, questions=ENGLISH[2:3], shown=420),
)


def main() -> None:
    chromium = program(*PROGRAMS["needs_chromium"])
    if chromium is None:
        raise SystemExit("Chromium is needed: install it (on Debian and Ubuntu: apt install chromium fonts-noto-cjk).")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, Upstream() as upstream, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--force-device-scale-factor=1"]
        )
        for stack in running(Stack(Path(directory), upstream, settings={"MIDSENTENCE_MODEL": "demo"})):
            for picture in PICTURES:
                take(browser, stack.base_url, picture)
        browser.close()


def take(browser: Browser, base_url: str, picture: Picture) -> None:
    width, height = picture.size
    context = browser.new_context(
        base_url=base_url,
        locale=picture.locale,
        color_scheme=picture.theme,
        viewport={"width": width, "height": height},
        is_mobile=picture.is_phone,
        has_touch=picture.is_phone,
    )
    page = context.new_page()
    for question in picture.questions:
        ask(page, question)
        is_last = question == picture.questions[-1]
        if not is_last:
            expect(page.locator("#status")).to_have_attribute("data-phase", "streaming")
    if picture.shown is None:
        expect(page.locator("#status")).to_have_attribute("data-phase", "idle", timeout=60_000)
        # Highlighting and formulas are rendered after the text.
        expect(page.locator(".token-keyword").first).to_be_visible()
        expect(page.locator(".katex").first).to_be_visible()
        page.locator("#scroller").evaluate("(scroller) => scroller.scrollTo(0, 0)")
        page.locator("#scroller").evaluate(
            "(scroller) => scroller.scrollTo(0, scroller.querySelector('.question').offsetTop - 24)"
        )
    else:
        page.wait_for_function(LONG_ENOUGH, arg=picture.shown)
    path = DIRECTORY / f"{picture.name}.png"
    page.screenshot(path=path)
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    context.close()


def ask(page: Page, question: str) -> None:
    page.goto("/")
    box = page.locator("#text")
    box.fill(question)
    page.locator(".composer .send").click()
    expect(page.locator(".reply")).to_have_count(1)


if __name__ == "__main__":
    main()
