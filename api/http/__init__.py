"""What every request passes: access, errors, uploads, files and metrics."""
