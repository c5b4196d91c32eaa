"""One look at a thing, and what it found: each kind of probe in its file, fit for an event loop with thousands."""
