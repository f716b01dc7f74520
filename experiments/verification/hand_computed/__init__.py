"""Schedules that were worked out by hand."""
