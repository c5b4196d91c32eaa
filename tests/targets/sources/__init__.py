"""Sources: real files, real databases, real commands."""
