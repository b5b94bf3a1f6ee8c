"""One vendor's words a file (``ports/dialect.py``). Copy from ``anthropic_messages.py``."""
