"""The documents name only files that exist, and the README's map names every module."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PACKAGES = ("midsentence", "server/midsentence_server", "worker/midsentence_worker")
# A path from the repository's root, in backquotes.
PATH = re.compile(r"`((?:bench|deploy|docs|frontend|midsentence|scripts|server|tests|tools|worker)/[\w./-]+)`")
# Created by an installation, so it is not in every checkout.
CREATED = "frontend/node_modules"
LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]+)?\)")


def paths_of_the_map() -> list[str]:
    """Read the map, one path per line. Each is relative to the entry above that is indented by four spaces less."""
    _, _, section = (ROOT / "README.md").read_text().partition("## Where things live")
    lines = section.split("```")[1].strip("\n").splitlines()
    paths: list[str] = []
    parents: list[str] = []
    for line in lines:
        name = line.split()[0]
        del parents[(len(line) - len(line.lstrip())) // 4 :]
        parents.append(name)
        paths.append("".join(parents))
    return paths


def test_map_names_only_files_and_folders_that_exist() -> None:
    paths = paths_of_the_map()
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in paths if path.endswith("/") != (ROOT / path).is_dir()] == []


def test_map_names_every_python_module() -> None:
    modules = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert modules - set(paths_of_the_map()) == set()


def test_map_names_every_folder_of_tests() -> None:
    # Not one that holds caches alone, as git leaves it behind when a folder is removed.
    files = (path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*") if path.is_file())
    folders = {f"tests/{path.parts[0]}/" for path in files if len(path.parts) > 1 and "__pycache__" not in path.parts}
    assert folders - set(paths_of_the_map()) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_only_paths_that_exist(document: Path) -> None:
    text = document.read_text()
    named = {path for path in PATH.findall(text) if path != CREATED}
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_document_lead_to_files(document: Path) -> None:
    targets = LINK.findall(document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []
