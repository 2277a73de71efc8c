"""Uploads, lists, changes, deletes, downloads and exports documents."""
