"""What a page may cost, where that can be counted instead of timed."""

import pytest
from playwright.sync_api import Browser

from tests.support.processes import Stack
from tools.page_figures import measures

pytestmark = pytest.mark.needs_chromium


def test_little_is_loaded_before_anything_is_shown(built_page: None) -> None:
    assert measures.initial_scripts() <= 90 * 1024


def test_a_tab_that_stays_open_holds_the_text_and_not_the_rows(
    built_page: None, chromium: Browser, stack: Stack
) -> None:
    """Three thousand messages later there are as few elements as after three hundred."""
    few, many = (
        measures.long_session(chromium, stack.base_url, measures.turns_stream(turns), turns) for turns in (150, 1500)
    )
    assert many.elements == few.elements
    assert many.elements < 5000
