"""The arithmetic and the tests behind the figures: pure functions."""
