"""Finds passages and pictures."""
