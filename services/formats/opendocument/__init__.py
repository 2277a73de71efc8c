"""Reads ODT, ODP and ODS."""
