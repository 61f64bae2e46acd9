"""The supervisor over shell scripts: `python -m tests.up.shell_children DIRECTORY STAGES`."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from midsentence.errors import CannotStartError
from midsentence.launcher.child_process import Child, write_line, write_report
from midsentence.launcher.supervisor import Stage, supervise


def main() -> None:
    directory = Path(sys.argv[1])
    described: list[tuple[float, list[tuple[str, str]]]] = json.loads(sys.argv[2])
    stages = [Stage(tuple(_child(directory, *child) for child in children), seconds) for seconds, children in described]
    names = [name for _, children in described for name, _ in children]

    async def ready() -> bool:
        return all((directory / f"{name}.starts").exists() for name in names) and not (directory / "not-yet").exists()

    async def announce() -> None:
        write_line(1, "ready")

    # Under nohup, the tests inherit an ignored SIGHUP.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        sys.exit(0 if asyncio.run(supervise(stages, ready, announce)) else 130)
    except CannotStartError as error:
        write_report(str(error))
        sys.exit(2)


def _child(directory: Path, name: str, script: str) -> Child:
    return Child(name, ("/bin/sh", "-c", f"cd '{directory}'; echo $$ >> {name}.starts; {script}"))


if __name__ == "__main__":
    main()
