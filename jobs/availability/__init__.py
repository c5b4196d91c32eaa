"""How long something was up, down, unseen or excluded: exact time in whole microseconds, and what follows from it."""
