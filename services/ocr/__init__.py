"""Reads the text of pictures of pages."""
