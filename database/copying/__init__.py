"""Copies every row of one database into another, of either kind, and compares the two."""
