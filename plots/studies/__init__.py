"""A study in memory, and choosing its runs."""
