"""The ledger: what was intended, what came of it, and what is known to exist. Nothing outside this folder knows SQL."""
