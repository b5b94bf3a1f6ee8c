"""Decisions: values in, a verdict out. Time, chance and state are arguments; nothing in here waits or knows bytes."""
