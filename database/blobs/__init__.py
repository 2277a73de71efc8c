"""Stored files by their content: on disk, or in Supabase Storage."""
