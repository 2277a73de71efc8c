"""Reading untrusted files in a child process of their own.

`extract` is what the server calls, `supervisor` starts and ends the child, `child` is the child, `wire` what they say
to each other. This module imports nothing, because the child passes through it.
"""
