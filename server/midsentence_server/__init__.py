"""The HTTP side: takes messages in, relays the log out.

Never talks to a model, and to Redis only through `midsentence`.
"""
