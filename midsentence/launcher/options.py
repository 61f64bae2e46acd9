"""The options of the commands that run processes: how many, and those that a supervisor gives to each of them."""

from typing import Annotated

import typer

_HELP = "How many processes, or `auto` for one on each CPU."

Processes = Annotated[str, typer.Option(metavar="N", help=_HELP)]
Name = Annotated[str, typer.Option(hidden=True, help="What the process is called in its log.")]
ReadyDescriptor = Annotated[
    int | None, typer.Option("--ready-fd", hidden=True, help="The pipe to write to when the process is ready.")
]
