"""Rows of documents.

Uploads, pages, passages, pictures, and the searches over them.
"""
