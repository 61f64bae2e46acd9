"""Limits of the page's cost that can be counted: bytes and elements instead of milliseconds."""

import pytest
from playwright.sync_api import Browser

from tests.support.processes import Stack
from tools.page_figures import measures

pytestmark = pytest.mark.needs_chromium


def test_initial_scripts_stay_below_their_limit(built_page: None) -> None:
    assert measures.initial_scripts() <= 90 * 1024


def test_number_of_elements_does_not_grow_with_the_session(built_page: None, chromium: Browser, stack: Stack) -> None:
    """A session of 3,000 messages has as many elements as one of 300."""
    few, many = (
        measures.long_session(chromium, stack.base_url, measures.turns_stream(turns), turns) for turns in (150, 1500)
    )
    assert many.elements == few.elements
    assert many.elements < 5000
