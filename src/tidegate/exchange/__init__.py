"""The values that travel. Nothing in here waits, reads a clock, opens anything or knows a byte format."""
