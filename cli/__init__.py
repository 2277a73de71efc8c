"""The command line: the same services as the HTTP API, on the same data folder.

A server may run meanwhile or not.
"""
