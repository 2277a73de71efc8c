"""Reads one document, cuts it into passages, embeds and stores them."""
