"""Reads Office files, and what Word, slides and sheets have in common."""
