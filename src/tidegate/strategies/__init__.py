"""One order of targets a file (``ports/strategy.py``). Copy from ``least_busy.py``."""
