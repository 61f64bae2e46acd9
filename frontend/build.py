"""Put the page into the server's package when the project is installed or built."""

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data  # the wheel's `artifacts` name the output already
        root = Path(self.root)
        output = root / "server" / "midsentence_server" / "page"
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(root / "frontend" / "src", output)
