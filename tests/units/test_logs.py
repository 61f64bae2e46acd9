import json
import socket
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from midsentence import logs
from midsentence.settings import Settings

logs.configure(Settings(), "server 2")
structlog.get_logger().info("an_event", value=1)
logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
raise RuntimeError("a defect")
"""


def test_every_line_is_written_at_once_and_names_its_process() -> None:
    """Several processes write to one output: a line in two parts would be mixed with theirs."""
    # Each write to a datagram socket is a message of its own.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs.fileno(), check=False)
        ours.settimeout(10)
        messages = [ours.recv(100_000) for _ in range(3)]
    assert all(message.endswith(b"\n") and message.count(b"\n") == 1 for message in messages)
    event, warning, crash = map(json.loads, messages)
    assert {line["process"] for line in (event, warning, crash)} == {"server 2"}
    assert (event["event"], event["value"]) == ("an_event", 1)
    assert (warning["event"], warning["level"], warning["logger"]) == ("Invalid request", "warning", "uvicorn.error")
    assert (crash["event"], crash["level"]) == ("crashed", "critical")
    assert "a defect" in crash["exception"]
