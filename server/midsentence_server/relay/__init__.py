"""The relay: the sessions that this process follows, and the event streams of their readers.

The life of a reader, from its request to its end:

 1. `sessions.events` reads the cursor, the right to read (`dialects`) and makes an `EventStream` (`event_stream`).
 2. `Hub.feed` gives the session's `Feed`: the known one, or a new one once Redis confirmed its subscription (`hub`).
 3. `Feed.find` resolves the cursor: frames after it from the `ReplayBuffer`, else from a read of the log that all
    waiting requests share (`SingleFlight`), else a snapshot (`SnapshotCache`).
 4. A reader that wants nothing more than the end of a complete session gets 204, one without the right gets 404.
 5. The stream takes uvicorn's connection over (`uvicorn_takeover`) and writes into its socket (`sinks.SocketSink`);
    where that is impossible, it goes through ASGI (`sinks.AsgiSink`).
 6. A `Reader` (`reader`) joins cursor, dialect and sink, writes what was found, and follows the feed.
 7. Redis publishes: `Feed.published` appends each frame whose predecessor is the newest event here, and
    `Feed.batch_end` delivers those that came together as one `Burst`, encoded once for all readers.
 8. A reader whose cursor is the burst's predecessor and whose sink is not full passes the same bytes on. Any other is
    woken: it takes all frames after its cursor from the buffer, or reads the log when the buffer lacks them.
 9. A gap makes the feed read the log again. `LogChecks` compares it with the log's head after a change of the state or
    a new subscription, and `Clock` and `Deadlines` let it do so periodically, since a published message may be lost;
    it reads the log where the head shows that events were. They also ping, and drop feeds without readers.
10. The stream ends when the client leaves, takes nothing for too long, loses its right, the session is deleted or
    complete, or the server drains. Reader, sink and request are then freed at once, the feed ten seconds later.
"""
