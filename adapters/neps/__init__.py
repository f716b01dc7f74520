"""NePS."""
