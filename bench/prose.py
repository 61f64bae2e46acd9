"""The scenarios' titles, and what is done in them. No figure is claimed here; `report.py` puts them beside it."""

SCENARIOS = {
    "relay": ("Relay, one reader to a session", "Each token is appended and relayed by itself."),
    "fanout": (
        "Fan-out",
        """Several readers follow each session. A token counts once for each reader that was given it, so
        what is done once for a session is shared by them.""",
    ),
    "fast": (
        "Fast models",
        """midsentence's worker lets tokens travel together that come within its flush; the first goes at
        once. The others have no such thing and are given the same tokens. The gain is bought with latency:
        a token is late by up to the flush, and the percentiles say by how much.""",
    ),
    "idle": (
        "Idle connections",
        """Readers connect to sessions in which nothing happens, and stay: everybody to a session of their
        own, then the same crowd to a few.""",
    ),
    "storm": (
        "Reconnect storm",
        """Readers are cut in the middle of their answers and come back all at once, while the answers go
        on; each must end with exactly the text that was written (*exact*). The cost of a reconnect is all
        that the server did meanwhile, the replay included. Where somebody stays with each session,
        midsentence answers the others from memory; where nobody does, from the log.""",
    ),
    "replay": (
        "Replay of an answer",
        """A reader without a cursor attaches and is given the whole answer so far. midsentence keeps a
        finished answer in another form than one that runs.""",
    ),
    "post": (
        "Asking",
        "From POST to its 202, and from POST to the first token at the reader, of a model that answers at once.",
    ),
    "growth": ("Growth", "The same tokens a second in all, over ever more sessions."),
    "two": ("A second server process", "Readers are spread over the processes, which share the core for servers."),
}
