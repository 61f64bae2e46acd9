"""The command `midsentence`, behind scripts/up: starts a Valkey, a server and a worker, and restarts each that exits.

It starts processes and imports neither the server nor the worker.
"""
