"""Reads picture files, SVG among them."""
