"""Reads PPTX."""
