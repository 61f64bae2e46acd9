"""The Redis client: one server, the primary that sentinels name, or a cluster.

Only the launcher, which checks an address before it starts anything, uses redis-py elsewhere.

The life of a command:

1. `scripts.Script.request` or `scripts.command` encodes it once, as a `Request` with its key.
2. `store.Store`, the interface for the rest of `midsentence`, passes it to the topology.
3. `topology` finds the `Node` of its key: there is one, or `cluster` looks its slot up in the slot map.
4. `node.Node` refuses it at once while the server is being probed; else it sends it, within the time-out.
5. `pipeline.Pipeline` writes it to the one connection that all callers share, and queues a future for the reply.
6. `resp.RespConnection` parses what the socket receives; replies come in the order of the requests.
7. The node loads a script that the server lacks, and turns errors into those of `midsentence.errors`; `cluster`
   follows redirections to other nodes.

Two kinds of commands have connections of their own: WAITAOF, which blocks its connection (`fsync`), and subscriptions
(`subscriptions`, with a `subscriber` for each node). `connector` opens all connections with redis-py.
"""
