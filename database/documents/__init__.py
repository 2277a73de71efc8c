"""Rows of documents: uploads, pages, passages, pictures, and the searches over them."""
