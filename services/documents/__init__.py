"""What a client does with documents: upload, list, change, delete, download, export."""
