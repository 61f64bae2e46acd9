"""The Dockerfiles of the server and the worker."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "server" / "Dockerfile", ROOT / "worker" / "Dockerfile"]
each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)


@each_dockerfile
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    checked = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@each_dockerfile
def test_the_image_runs_as_a_numeric_user_other_than_root(dockerfile: Path) -> None:
    *_, user = re.findall(r"^USER (.*)$", dockerfile.read_text(), re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@each_dockerfile
def test_every_copied_path_exists_and_is_in_the_build_context(dockerfile: Path) -> None:
    """.dockerignore excludes every path that it does not list, so a COPY of another path would fail."""
    included = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile.read_text(), re.MULTILINE)
        for source in line.split()
    ]
    assert included == set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_local_packages_and_builds_of_the_page_are_not_in_the_build_context() -> None:
    """The last line of .dockerignore that matches a path decides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines.index("**/node_modules") > lines.index("!frontend")
    assert lines.index("server/midsentence_server/page") > lines.index("!server/midsentence_server")


@each_dockerfile
def test_the_pages_build_tools_are_not_in_the_image(dockerfile: Path) -> None:
    """Node is the largest package, and the image copies the whole virtual environment of its first stage."""
    build, _, image = dockerfile.read_text().rpartition("\nFROM ")
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (removed,) = re.findall(r"pip uninstall --yes (.*)", build)
    assert removed.split() == [re.split("[<>=]", requirement)[0] for requirement in required]
    assert "COPY --from=build /venv /venv" in image


def test_both_images_are_built_from_the_same_layers() -> None:
    first_stages = {path.read_text().partition("\n\n")[0].partition("\n")[2] for path in DOCKERFILES}
    assert len(first_stages) == 1
