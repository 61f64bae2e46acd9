"""The Redis client: one server, the primary that sentinels name, or a cluster.

`store` is the interface that the rest of `midsentence` uses. No other package imports redis-py.
"""
