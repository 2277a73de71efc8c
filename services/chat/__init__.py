"""Answers from documents: the context that a prompt is given."""
