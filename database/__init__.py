"""Schema, records, the store and the blobs."""
