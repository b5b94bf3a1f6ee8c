"""One provider's data a file (``ports/provider.py``); plain OpenAI-shaped ones are rows of ``presets.py``."""
