"""SQLite on this node, which stands in for a database that does not answer, and moves what it took afterwards."""
