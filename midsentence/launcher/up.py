"""`midsentence`: Valkey, a server and a worker on one machine, as child processes of which it imports none."""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from midsentence.address import Address, free_address, listening_sockets
from midsentence.errors import BadSettingsError, CannotStartError, StoreUnavailableError, StoreUnusableError
from midsentence.launcher import valkey
from midsentence.launcher.child_process import Child, write_line, write_report
from midsentence.launcher.process_count import process_count
from midsentence.launcher.program import Program, stop_seconds
from midsentence.launcher.supervisor import KILLED, Stage, supervise
from midsentence.redis_url import RedisUrl
from midsentence.settings import Settings

REFUSED = 2
VALKEY_STOP_SECONDS = 10.0
REDIS_TIMEOUT_SECONDS = 5.0
# For a program that is started and stopped by hand at a terminal, unlike a deployed server.
DEFAULTS = {"MIDSENTENCE_PUSH": "1", "MIDSENTENCE_DRAIN_SECONDS": "3"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Request:
    """The options of the command line."""

    host: str
    port: int
    servers: int
    workers: int
    data_dir: str | None
    may_open: bool


def main() -> None:
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        code = refuse(
            f"{' '.join(error.format_message().split()).rstrip('.')}; `midsentence --help` says what it takes."
        )
    except (BadSettingsError, CannotStartError) as error:
        code = refuse(str(error))
    except KeyboardInterrupt:  # before a child was started
        code = KILLED
    sys.exit(code)


def refuse(sentence: str) -> int:
    write_report(sentence)
    return REFUSED


Count = Annotated[str, typer.Option(metavar="N", help="How many, or `auto` for one on each CPU.")]


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    *,
    servers: Count = "1",
    workers: Count = "1",
    data_dir: Annotated[
        str | None,
        typer.Option(help="Where conversations are kept, by default $XDG_DATA_HOME/midsentence."),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the page in the browser.")] = False,
) -> int:
    """Run the page, servers, workers and an embedded Valkey until Ctrl-C.

    MIDSENTENCE_REDIS_URL names a Redis or Valkey to use instead; docs/operations.md lists all settings.
    """
    counts = process_count("--servers", servers), process_count("--workers", workers)
    request = Request(host, port, *counts, data_dir, may_open=not no_open)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    settings = Settings.load()
    settings.check_models()
    address = free_address(host, port)
    if os.environ.get("MIDSENTENCE_REDIS_URL"):
        if RedisUrl.parse(settings.redis_url).topology not in {"sentinel", "cluster"}:
            check_redis(settings.redis_url)
        asyncio.run(check_store(settings))
        return run_on(settings.redis_url, None, address, settings, request)
    directory = data_directory(data_dir)
    with valkey.locked(directory) as lock, valkey.socket_path(directory) as socket:
        store = Store(valkey.child(directory, socket, lock), directory, socket)
        return run_on(valkey.url(socket), store, address, settings, request)


@dataclass(frozen=True)
class Store:
    """The embedded Valkey."""

    child: Child
    directory: Path
    socket: Path


def run_on(redis_url: str, store: Store | None, address: Address, settings: Settings, request: Request) -> int:
    env = os.environ | {"MIDSENTENCE_REDIS_URL": redis_url}
    sockets = listening_sockets(address, request.servers)
    programs = (Program("server", request.servers, sockets, env), Program("worker", request.workers, env=env))
    clients = tuple(child for program in programs for child in program.children())
    stages = [Stage(clients, stop_seconds(settings), sockets)]
    if store:
        stages.insert(0, Stage((store.child,), VALKEY_STOP_SECONDS))

    async def ready() -> bool:
        if store and not await valkey.answers(store.socket):
            return False
        return await address.answers("/healthz") and await address.answers("/readyz")

    async def announce() -> None:
        write_line(1, announcement(address, settings, store))
        if request.may_open and has_browser():
            await open_page(address.url)

    in_order = asyncio.run(supervise(stages, ready, announce))
    return 0 if in_order else KILLED


def announcement(address: Address, settings: Settings, store: Store | None) -> str:
    default = settings.model_list.default
    model = f"{default.name} answers."
    if default.api == "demo" and settings.models is None:
        model = (
            "The built-in demo answers. For a real model set OPENAI_API_KEY, or OPENAI_BASE_URL to the address of any "
            "OpenAI-compatible server, and start again."
        )
    kept = f"Conversations are kept in {store.directory}." if store else "Conversations are kept in your Redis."
    return f"\nmidsentence is ready: {address.url}\n{model}\n{kept} Ctrl-C stops everything.\n"


def data_directory(named: str | None) -> Path:
    if named is None:
        return valkey.default_data_directory()
    if not named:
        raise CannotStartError("--data-dir is empty: name the directory to keep conversations in.")
    return Path(named).expanduser().absolute()


def check_redis(url: str) -> None:
    """Send a PING. Raises CannotStartError, which shows nothing of the address: it may contain a password."""
    # Imported here: the import takes a third of a second, which a start with the embedded Valkey does not need.
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    once = Retry(NoBackoff(), 0)
    seconds = REDIS_TIMEOUT_SECONDS
    advice = "check the address, or unset it to use the embedded Valkey"
    try:
        # redis-py leaves its keyword arguments untyped.
        with Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url, retry=once, socket_connect_timeout=seconds, socket_timeout=seconds
        ) as redis:
            redis.ping()  # pyright: ignore[reportUnknownMemberType]
    except (BusyLoadingError, NoPermissionError):
        return  # it runs; it loads its data, or `check_store` says what the user may not do
    except AuthenticationError as error:
        raise CannotStartError(f"The Redis of MIDSENTENCE_REDIS_URL refuses its user or password: {advice}.") from error
    except (RedisError, OSError, ValueError) as error:
        cause = error.__context__
        reason = f" ({cause.strerror.lower()})" if isinstance(cause, OSError) and cause.strerror else ""
        raise CannotStartError(f"The Redis of MIDSENTENCE_REDIS_URL does not answer{reason}: {advice}.") from error


async def check_store(settings: Settings) -> None:
    """Look for all that servers and workers need. Raises CannotStartError.

    A single Redis that does not answer is left to the children: `check_redis` has reached it, so it loads its data.
    """
    from midsentence.store.inspection import Inspection  # noqa: PLC0415
    from midsentence.store.store import Store as Log  # noqa: PLC0415

    store = Log(settings)
    try:
        if RedisUrl.parse(settings.redis_url).topology in {"sentinel", "cluster"}:
            await store.ping()
        await Inspection(store).look()
    except StoreUnusableError as error:
        raise CannotStartError(str(error)) from error
    except StoreUnavailableError as error:
        if RedisUrl.parse(settings.redis_url).topology in {"sentinel", "cluster"}:
            advice = "check the address, or unset it to use the embedded Valkey"
            raise CannotStartError(f"MIDSENTENCE_REDIS_URL: {error}: {advice}.") from error
    finally:
        await store.aclose()


def has_browser() -> bool:
    """Whether a person is at a screen of this machine: over SSH or in a script, no page is opened."""
    has_display = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return has_display and sys.stdout.isatty()


async def open_page(url: str) -> None:
    # In a separate process, since opening a browser may block or fail.
    with contextlib.suppress(OSError):
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "webbrowser",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )


if __name__ == "__main__":
    main()
