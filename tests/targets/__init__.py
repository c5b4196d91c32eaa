"""Tests of what touches."""
