"""Reports made of the ledger, for whoever asks at the command line and for the slots of those that make themselves."""
