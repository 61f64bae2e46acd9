"""The model's side: claims turns, asks the model, appends what it says.

Never speaks HTTP inward, and to Redis only through `midsentence`.
"""
