"""Reads CSV, JSON and JSON Lines."""
