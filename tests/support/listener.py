"""Stop a listening server of asyncio without leaving a connection open."""

import asyncio


async def stop_listening(server: asyncio.Server) -> None:
    """Close the listening sockets. Every connection that was accepted has its protocol then, or a task that makes it.

    `Server.close` alone leaks the socket of a connection whose task has not begun (CPython's issue 109564). The garbage
    collector then warns about it in a later test.
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    # The first step of the task attaches the connection to the server, and makes its protocol.
    await asyncio.sleep(0)
    server.close()
