"""What every reader uses: building pages, writing pictures and attachments, opening archives."""
