"""Benchmarks: objectives that return at no cost, a loss and the seconds of its training."""

from __future__ import annotations

from benchmarks.dataframe import from_dataframe
from benchmarks.errors import DamagedDataError, DataMissingError
from benchmarks.protocol import Benchmark, Fidelity
from benchmarks.registry import Descriptor, Family, available, load

__all__ = [
    "Benchmark",
    "DamagedDataError",
    "DataMissingError",
    "Descriptor",
    "Family",
    "Fidelity",
    "available",
    "from_dataframe",
    "load",
]
