"""An invalid start is refused before any process starts, with exit code 2 and one sentence of advice."""

import fcntl
import os
import resource
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from midsentence.errors import CannotStartError
from midsentence.launcher import up, valkey
from tests.support.processes import RedisChild, free_port, listens
from tests.support.redis_deployments import execute
from tests.support.waiting import wait_until
from tests.up.running import running

Refusal = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def refusal(data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refusal:
    """Run `midsentence` with invalid arguments and return the sentence with which it refuses."""
    for name in (*up.DEFAULTS, "MIDSENTENCE_REDIS_URL"):
        monkeypatch.setenv(name, up.DEFAULTS.get(name, ""))

    def run(*arguments: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["midsentence", "--port", str(free_port()), "--data-dir", str(data), *arguments]
        )
        with pytest.raises(SystemExit) as stopped:
            up.main()
        assert stopped.value.code == 2
        out, err = capfd.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("midsentence: ")
        assert line.endswith(".")
        return line

    return run


@pytest.fixture
def taken() -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_refused(refusal: Refusal, taken: int) -> None:
    assert f"Port {taken} is taken" in refusal("--port", str(taken))
    assert "--port" in refusal("--port", str(taken))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "a b", "x" * 300])
def test_a_host_that_does_not_exist_is_refused(refusal: Refusal, host: str) -> None:
    assert "There is no host" in refusal("--host", host)


def test_a_host_of_another_machine_is_refused(refusal: Refusal) -> None:
    assert "192.0.2.1 is not an address of this machine" in refusal("--host", "192.0.2.1")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--prot", "9000"], "--prot"),
        (["--port"], "--port"),
        (["--port", "http"], "--port"),
        (["--port", "0"], "--port"),
        (["--port", "65536"], "--port"),
        (["start"], "start"),
        (["--data-dir", ""], "--data-dir"),
        (["--servers", "0"], "--servers"),
        (["--workers", "few"], "--workers"),
    ],
    ids=" ".join,
)
def test_an_invalid_option_is_refused(refusal: Refusal, arguments: list[str], part: str) -> None:
    assert part in refusal(*arguments)


def test_a_title_model_that_is_no_model_is_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker would refuse it, and be started again for ever."""
    monkeypatch.setenv("MIDSENTENCE_TITLE_MODEL", "another")
    assert "MIDSENTENCE_TITLE_MODEL cannot be used" in refusal()


def test_a_data_directory_that_is_a_file_is_refused(refusal: Refusal, data: Path) -> None:
    data.write_text("not a directory")
    assert "it is a file" in refusal()
    assert data.read_text() == "not a directory"


# Not a directory whose mode forbids writing: CI may run as root, which writes there anyway.
@pytest.mark.parametrize("directory", ["/dev/null/below", "/dev/fd", "/" + "x" * 300])
def test_a_data_directory_that_is_not_writable_is_refused(refusal: Refusal, directory: str) -> None:
    assert f"The data directory {directory} cannot be written to" in refusal("--data-dir", directory)


def test_a_data_directory_on_a_full_disk_is_refused(data: Path) -> None:
    """The limit of a file's size stands for the full disk: the write fails, and not the open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        with pytest.raises(CannotStartError, match=r"cannot be written to \(file too large\)"), valkey.locked(data):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_data_directory_in_use_is_refused(refusal: Refusal, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "LOCK_TIMEOUT_SECONDS", 0)
    data.mkdir()
    with (data / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "Another midsentence uses the data directory" in refusal()


def test_a_user_without_a_home_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(CannotStartError, match="--data-dir"):
        valkey.default_data_directory()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "127.0.0.1:port", "no-such-host.invalid", "/", "[::1"])
def test_a_redis_that_does_not_answer_is_refused_without_its_password(
    refusal: Refusal, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSENTENCE_REDIS_URL", f"redis://me:hush@{address.format(port=free_port())}")
    sentence = refusal()
    assert "MIDSENTENCE_REDIS_URL" in sentence
    assert "hush" not in sentence


def test_a_redis_that_accepts_and_never_answers_is_refused(
    refusal: Refusal, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "REDIS_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setenv("MIDSENTENCE_REDIS_URL", f"redis://127.0.0.1:{taken}")
    assert "does not answer" in refusal()


LACKS = {
    "old": (["--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", ""], "Redis or Valkey 7"),
    "evicting": (["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "set maxmemory-policy noeviction"),
    "replica": (["--replicaof", "127.0.0.1 1"], "is a replica"),
}
LACKING_RIGHTS = {"no channels": "~* +@all", "no commands": "~* &*", "no keys": "&* +@all"}


@pytest.mark.parametrize("lack", LACKS)
def test_a_redis_that_lacks_something_is_refused(
    refusal: Refusal, lack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The sentence says what to do, and no server says that it is ready."""
    options, part = LACKS[lack]
    redis = RedisChild(tmp_path / "redis", None, *options)
    redis.spawn()
    try:
        wait_until(lambda: listens(redis.port), description="Redis listens")
        monkeypatch.setenv("MIDSENTENCE_REDIS_URL", redis.url)
        assert part in refusal()
    finally:
        redis.stop()


@pytest.mark.parametrize("rules", LACKING_RIGHTS.values(), ids=LACKING_RIGHTS.keys())
def test_a_user_of_redis_that_lacks_a_right_is_refused(
    refusal: Refusal, rules: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis = RedisChild(tmp_path / "redis")
    redis.start()
    try:
        execute(redis, "ACL", "SETUSER", "app", "on", ">hush", *rules.split())
        monkeypatch.setenv("MIDSENTENCE_REDIS_URL", redis.url.replace("://", "://app:hush@"))
        sentence = refusal()
    finally:
        redis.stop()
    assert "ACL SETUSER app " in sentence
    assert "hush" not in sentence


def test_an_invalid_setting_is_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSENTENCE_FLUSH_MS", "soon")
    assert "MIDSENTENCE_FLUSH_MS" in refusal()


def test_a_machine_without_a_valkey_is_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    monkeypatch.setenv("PATH", "")
    assert "MIDSENTENCE_REDIS_URL" in refusal()


def test_unreadable_data_names_the_log_of_valkey_and_leaves_nothing_running(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "appendonlydir").mkdir(parents=True)
    (data / "appendonlydir" / "appendonly.aof.manifest").write_text("this is no manifest\n")
    command = [sys.executable, "-m", "midsentence.launcher.up", "--port", str(free_port()), "--data-dir", str(data)]
    env = {name: value for name, value in os.environ.items() if name != "MIDSENTENCE_REDIS_URL"}
    with running(command, tmp_path / "run", env) as program:
        assert program.exit_code() == 2
    assert f"{data}/valkey.log says why" in program.err
    assert "Traceback" not in program.err
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
