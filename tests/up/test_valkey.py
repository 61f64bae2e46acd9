import asyncio
import fcntl
import shutil
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from midsentence.errors import CannotStartError
from midsentence.launcher import valkey
from midsentence.launcher.child_process import ChildProcess

pytestmark = pytest.mark.anyio


async def answering(socket: Path, run: asyncio.Task[None]) -> None:
    while not await valkey.answers(socket):
        assert not run.done()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def valkey_in(directory: Path) -> AsyncGenerator[Redis]:
    with valkey.locked(directory) as lock, valkey.socket_path(directory) as socket:
        process = ChildProcess(valkey.child(directory, socket, lock))
        run = process.start()
        try:
            await answering(socket, run)
            client = Redis.from_url(valkey.url(socket))  # pyright: ignore[reportUnknownMemberType] - untyped keywords
            async with client as redis:
                yield redis
        finally:
            await process.stop(within=10)


async def test_valkey_listens_only_on_a_socket_of_this_user(tmp_path: Path) -> None:
    async with valkey_in(tmp_path) as redis:
        # redis-py leaves its replies untyped.
        config = cast("Any", await redis.execute_command("CONFIG", "GET", "port"))  # pyright: ignore[reportUnknownMemberType]
        assert config == {b"port": b"0"}
        assert stat.S_IMODE((tmp_path / "valkey.sock").stat().st_mode) == 0o600


async def test_writes_survive_a_restart(tmp_path: Path) -> None:
    async with valkey_in(tmp_path) as redis:
        await redis.set("word", "你好")
    async with valkey_in(tmp_path) as redis:
        assert await redis.get("word") == "你好".encode()


@pytest.mark.parametrize("name", ["a name with 'quotes' and % signs", "x" * 120])
async def test_any_directory_name_is_accepted(tmp_path: Path, name: str) -> None:
    async with valkey_in(tmp_path / name) as redis:
        assert await redis.ping()  # pyright: ignore[reportUnknownMemberType] - as above
    assert (tmp_path / name / "appendonlydir").is_dir()


def test_a_private_socket_directory_is_removed(tmp_path: Path) -> None:
    with valkey.socket_path(tmp_path / ("x" * 120)) as socket:
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert not socket.parent.exists()


async def test_the_directory_stays_locked_while_its_valkey_runs(tmp_path: Path) -> None:
    with valkey.socket_path(tmp_path) as socket:
        with valkey.locked(tmp_path) as lock:
            process = ChildProcess(valkey.child(tmp_path, socket, lock))
            await answering(socket, process.start())
        with (tmp_path / "lock").open("w") as other:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await process.stop(within=10)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    expected = {
        "/data": Path("/data/midsentence"),
        "relative": Path("/home/me/.local/share/midsentence"),
        "": Path("/home/me/.local/share/midsentence"),
    }
    for value, directory in expected.items():
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert valkey.default_data_directory() == directory


def test_a_valkey_on_the_path_is_used_if_none_is_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = valkey.binary()
    monkeypatch.setattr("sys.platform", "plan9")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStartError):
        valkey.binary()
    shutil.copy(packaged, tmp_path / "redis-server")
    assert valkey.binary() == str(tmp_path / "redis-server")
