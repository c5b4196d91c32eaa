"""One revision each file, oldest first by name."""
