"""Rows of jobs: queued, claimed, waited for, ended."""
