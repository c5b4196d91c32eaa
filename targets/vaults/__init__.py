"""Vaults: local, sftp, s3, rest, and the in-memory one; each a place for repositories and a store of files."""
