"""Reads HTML and EPUB."""
