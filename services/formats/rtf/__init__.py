"""Reads RTF."""
