"""nginx in front of servers on this machine, with the configuration that docker-compose.yml mounts."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

NGINX = "/usr/sbin/nginx"
TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf.template"
VARIABLE = re.compile(r"\$\{(MIDSENTENCE_\w+)\}")
# RFC 5737 reserves this address for documentation, so no client of a test has it.
NO_PROXY = "192.0.2.1"
START_SECONDS = 10
STOP_SECONDS = 10


@contextmanager
def nginx(
    upstreams: Sequence[tuple[str, int]], directory: Path, *, trusted_proxy: str = NO_PROXY, max_body_bytes: int = 2**20
) -> Generator[str, None, None]:
    """Run nginx in `directory` and yield its base URL, `http://127.0.0.1:port`.

    nginx logs to `directory/nginx.log`. Raises AssertionError with that log if nginx does not start.
    """
    # nginx inherits an open socket, as at an upgrade of its binary, so that no other process can take the port before
    # nginx starts.
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        host, port = listener.getsockname()
        configure(directory, f"{host}:{port}", upstreams, trusted_proxy=trusted_proxy, max_body_bytes=max_body_bytes)
        process = _start(directory, listener)
    # The socket is closed in this process: if nginx has died, connecting fails instead of waiting in the backlog.
    try:
        _wait_until_ready(port, directory)
        yield f"http://{host}:{port}"
    finally:
        _stop(process)


def configure(
    directory: Path,
    listen: str,
    upstreams: Sequence[tuple[str, int]],
    *,
    trusted_proxy: str = NO_PROXY,
    max_body_bytes: int = 2**20,
) -> None:
    """Write `directory/nginx.conf` from the template alone."""
    variables = {
        "MIDSENTENCE_MAX_BODY_BYTES": str(max_body_bytes),
        "MIDSENTENCE_NGINX_LISTEN": listen,
        "MIDSENTENCE_NGINX_SERVERS": servers(upstreams),
        "MIDSENTENCE_NGINX_TRUSTED_PROXY": trusted_proxy,
    }
    (directory / "nginx.conf").write_text(render(variables))


def command(directory: Path) -> list[str]:
    """The command that starts a configured nginx."""
    argv = [NGINX, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
    if os.geteuid() == 0:
        # Workers of an nginx that root starts run as the user nobody, who cannot read a test's temporary directory.
        argv += ["-g", "user root root;"]
    return argv


def servers(upstreams: Sequence[tuple[str, int]]) -> str:
    return "\n".join(f"server {host}:{port} max_fails=0;" for host, port in upstreams)


def render(variables: Mapping[str, str]) -> str:
    """Replace variables as envsubst does in nginx's image. Raises KeyError for a variable that is missing."""
    return VARIABLE.sub(lambda match: variables[match[1]], TEMPLATE.read_text())


def _start(directory: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    with (directory / "nginx.log").open("ab") as log:
        return subprocess.Popen(
            command(directory),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
        )


def _wait_until_ready(port: int, directory: Path) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)) as connection:
        try:
            # nginx refuses TRACE itself, so this request reaches no server.
            connection.request("TRACE", "/")
            status = connection.getresponse().status
        except OSError as error:
            raise AssertionError(f"nginx did not start:\n{(directory / 'nginx.log').read_text()}") from error
    assert status == 405, f"nginx answered TRACE with {status} instead of 405"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
