"""Reads pages with Tesseract."""
