"""The Content Security Policy of the page, as the browser enforces it.

Every other test of this package checks that the page never violates it (see the fixture `readers`).
"""

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.chat import Reader
from tests.support.processes import Stack

pytestmark = pytest.mark.needs_chromium


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<p>from a model</p>'",
        "document.createElement('script').src = '/page/icon.svg'",
        "setTimeout('from a model')",
        "trustedTypes.createPolicy('any', { createHTML: (text) => text })",
    ],
)
def test_policy_blocks_strings_as_markup_or_code(
    chromium: Browser, built_page: None, stack: Stack, attempt: str
) -> None:
    with chromium.new_context(base_url=stack.base_url) as context:
        page = context.new_page()
        page.goto("/")
        with pytest.raises(Error, match="TypeError"):
            page.evaluate(f"() => {{ {attempt}; }}")


def test_policy_violation_is_reported(reader: Reader) -> None:
    """So that the other tests would fail if the page violated its policy."""
    chat = reader.open()
    chat.page.evaluate("document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {}'}))")
    expect(chat.status).to_have_text("Ready")
    assert [text for text in reader.errors if text.startswith("style-src-elem")] == ["style-src-elem: inline "]
    reader.errors.clear()
