"""Rows of users, their sessions and their API keys."""
