"""Surrogate models of trainings."""
