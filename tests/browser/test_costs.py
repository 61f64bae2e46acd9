"""Limits on what the page loads and keeps, as counts instead of times."""

import pytest
from playwright.sync_api import Browser

from tests.support.processes import Stack
from tools.page_figures import measures

pytestmark = pytest.mark.needs_chromium


def test_the_first_view_loads_few_bytes(built_page: None) -> None:
    assert measures.initial_scripts() <= 90 * 1024


def test_a_long_conversation_keeps_few_elements(built_page: None, chromium: Browser, stack: Stack) -> None:
    """After 3,000 messages there are as few elements as after 300."""
    few, many = (
        measures.long_session(chromium, stack.base_url, measures.turns_stream(turns), turns) for turns in (150, 1500)
    )
    assert many.elements == few.elements
    assert many.elements < 5000
