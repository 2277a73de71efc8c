"""Accounts, tokens and API keys: who may use the server, and for what."""
