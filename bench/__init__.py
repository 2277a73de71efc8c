"""Measurements against a real server process; nothing here is asserted by a test."""
