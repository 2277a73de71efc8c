"""What the product does; knows nothing of HTTP."""
