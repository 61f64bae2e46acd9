"""The browser enforces the page's security policy. Every other browser test shows that the page obeys it."""

import pytest
from playwright.sync_api import Browser, Error

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
def test_no_string_becomes_markup_or_code(chromium: Browser, built_page: None, stack: Stack, attempt: str) -> None:
    with chromium.new_context(base_url=stack.base_url) as context:
        page = context.new_page()
        page.goto("/")
        with pytest.raises(Error, match="TypeError"):
            page.evaluate(f"() => {{ {attempt}; }}")
