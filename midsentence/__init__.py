"""The contract that servers and workers keep: the log, and all that touches it.

This is the only code that issues a Redis command. Nothing in it speaks HTTP or to a model.
"""
