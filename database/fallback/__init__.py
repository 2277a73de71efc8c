"""SQLite on this node, for the time while the main database does not answer.

What it took is moved to the main database afterwards.
"""
