"""A client of kept conversations, for Python programs: deltas, dictionaries and rebasing by themselves (CRP 3, 6)."""
