"""The daemon: what is due, started, recorded and told, for months."""
