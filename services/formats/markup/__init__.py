"""Reads plain text, Markdown, reStructuredText, XML and notebooks."""
