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
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    checked = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@each_dockerfile
def test_the_image_runs_as_a_numbered_user_that_is_not_root(dockerfile: Path) -> None:
    *_, user = re.findall(r"^USER (.*)$", dockerfile.read_text(), re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@each_dockerfile
def test_all_that_is_copied_exists_and_is_let_into_the_build(dockerfile: Path) -> None:
    """.dockerignore lets in only what it names, so a COPY of anything else would fail where nobody here looks."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile.read_text(), re.MULTILINE)
        for source in line.split()
    ]
    assert let_in == set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_what_was_installed_or_built_here_for_the_page_is_left_out_of_the_build() -> None:
    """The last line that matches decides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines.index("**/node_modules") > lines.index("!frontend")
    assert lines.index("server/midsentence_server/page") > lines.index("!server/midsentence_server")


@each_dockerfile
def test_what_builds_the_page_stays_out_of_the_image(dockerfile: Path) -> None:
    """Node is larger than all the rest, and the image has all that the virtual environment of its first stage has."""
    build, _, image = dockerfile.read_text().rpartition("\nFROM ")
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (removed,) = re.findall(r"pip uninstall --yes (.*)", build)
    assert removed.split() == [re.split("[<>=]", requirement)[0] for requirement in required]
    assert "COPY --from=build /venv /venv" in image


def test_both_images_are_built_from_the_same_layers() -> None:
    first_stages = {path.read_text().partition("\n\n")[0].partition("\n")[2] for path in DOCKERFILES}
    assert len(first_stages) == 1
