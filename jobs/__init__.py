"""Decide. Pure: no clock, no file, no process, no network, no log."""
