"""Turns of kept conversations: resolve, reserve, render, commit before the terminal event (CRP 5)."""
