"""Reads XLSX and XLS."""
