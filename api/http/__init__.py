"""What every request passes: access, errors, uploads, and the files and metrics that are sent."""
