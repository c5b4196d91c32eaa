"""The journal's native protocol."""
