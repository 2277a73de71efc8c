"""Tells a file's format by its content."""
