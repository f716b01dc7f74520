"""SMAC3."""
