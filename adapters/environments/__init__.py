"""Isolated environments, and adapters that run in one."""
