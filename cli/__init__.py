"""The command line: the same services as the HTTP API, on the same data folder, with a server running or not."""
