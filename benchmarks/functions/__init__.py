"""Analytic functions."""
