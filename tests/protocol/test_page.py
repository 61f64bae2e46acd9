"""The page as it is built and served; tests/browser tests what it does."""

import re

from tests.support.client import Visitor


def test_every_file_of_the_page_is_served_and_only_hashed_ones_are_immutable(anonymous: Visitor) -> None:
    page = anonymous.http.get("/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    hashed = [path for path in named if re.fullmatch(r"/page/assets/[\w.-]+-[\w-]{8}\.(js|css)", path)]
    assert hashed
    for path in named:
        response = anonymous.http.get(path)
        assert response.status_code == 200, path
        assert ("immutable" in response.headers["cache-control"]) == (path in hashed), path


def test_the_script_of_the_page_is_served_gzipped(anonymous: Visitor) -> None:
    (script,) = re.findall(r'<script type="module" crossorigin src="([^"]+)"', anonymous.http.get("/").text)
    whole, small = (anonymous.http.get(script, headers={"Accept-Encoding": taken}) for taken in ("identity", "gzip"))
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < int(whole.headers["content-length"]) / 2
    assert small.content == whole.content


def test_the_licences_of_the_pages_packages_are_served(anonymous: Visitor) -> None:
    assert "preact" in anonymous.http.get("/page/licenses.md").text
