"""Copies every row of one database into another, and compares the two.

Either may be of either kind.
"""
