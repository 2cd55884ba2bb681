"""Hostile input: mutations of bytes, values and text (mutations.py) and what is done with them (kinds.py)."""
