"""Filters: one file each, named by ``use:``; see README.md."""
