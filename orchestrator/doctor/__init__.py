"""The whole installation looked at: every check alone, in its own time, and none of them can hide another."""
