"""Bytes become values, values become bytes. Nothing in here waits, reads a clock, or decides what to do about it."""
