"""Reads PDF."""
