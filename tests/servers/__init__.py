"""Real servers on loopback, started for a test and ended after it; nothing here knows Tandem."""
