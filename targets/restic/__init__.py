"""restic, driven as a subprocess: argv, environment, messages, exit codes, and the engine that joins them."""
