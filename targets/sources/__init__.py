"""Sources: what is backed up, read by us so that a manifest exists which restic had no part in."""
