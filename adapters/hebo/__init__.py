"""HEBO."""
