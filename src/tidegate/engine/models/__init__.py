"""Calls of models: who is asked, what came back, what it cost. ``engine/lanes/llm.py`` says in which order."""
