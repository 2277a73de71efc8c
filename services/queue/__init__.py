"""Takes jobs in and announces them."""
