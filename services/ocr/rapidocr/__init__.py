"""Reads pages with RapidOCR."""
