"""What is sent to Redis: plain commands and the Lua scripts of `midsentence/lua`, encoded before they are sent."""

import functools
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from midsentence.store.resp import Word, pack

# The parts that every script of a session begins with.
_OF_SESSION = ("common", "ids", "epochs", "announcements", "session")


# All scripts of the modules that were imported, by their names.
SCRIPTS: "dict[str, Script]" = {}


class Request(NamedTuple):
    """One encoded command. In a cluster, `key` decides which server gets it.

    `script` is what it runs; a server that does not know the script is given the body.
    """

    key: str
    data: bytes
    script: "Script | None" = None


class Script:
    """One Lua script, which Redis knows by its digest."""

    def __init__(self, name: str, *, behind: Sequence[str] = _OF_SESSION) -> None:
        """`behind`: the parts that precede it, in order; each costs a little at every run."""
        folder = files("midsentence") / "lua"
        self.name = name
        self.body = "".join((folder / f"{part}.lua").read_text() for part in (*behind, name))
        SCRIPTS[name] = self

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-1 by which EVALSHA names it."""
        return hashlib.sha1(self.body.encode(), usedforsecurity=False).hexdigest()

    def request(self, keys: Sequence[str], arguments: Sequence[Word]) -> Request:
        """Run it. All keys share a hash tag."""
        return Request(keys[0], pack(("EVALSHA", self.digest, len(keys), *keys, *arguments)), self)


def command(name: str, *arguments: Word) -> Request:
    """Encode a plain command; its first argument is its key. A name may be of two words, such as SCRIPT LOAD."""
    return Request(str(arguments[0]) if arguments else "", pack((*name.split(), *arguments)))
