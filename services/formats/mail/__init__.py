"""Reads mails: EML and MSG."""
