"""What every reader uses to build pages and to write pictures and attachments."""
