"""Several processes of one program under a supervisor: `--processes` of the server and the worker."""

import asyncio

import structlog

from midsentence import logs
from midsentence.launcher.program import Program, stop_seconds
from midsentence.launcher.ready_pipe import ReadyPipe
from midsentence.launcher.supervisor import KILLED, Stage, supervise
from midsentence.settings import Settings

_logger = structlog.get_logger()


def run(program: Program, settings: Settings) -> int:
    """Run the processes until a signal asks to stop, and start each again that exits. Returns the exit code.

    Raises CannotStartError where a process exits before all are ready.
    """
    logs.configure(settings, f"{program.kind}s")

    async def announce() -> None:
        _logger.info("processes_ready", processes=program.count)

    with ReadyPipe.of(program.count) as ready:
        stage = Stage(program.children(ready.descriptor), stop_seconds(settings), program.sockets)
        in_order = asyncio.run(supervise([stage], ready.is_complete, announce, _logger.warning))
    return 0 if in_order else KILLED
