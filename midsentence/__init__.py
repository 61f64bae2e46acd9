"""The contract between servers and workers: the session log and everything that reads or writes it.

`log`, `append` and `jobs` are the operations; `store` is the Redis client under them; `launcher` is the command behind
scripts/up. No other package issues a Redis command. Nothing here speaks HTTP or calls a model.
"""
