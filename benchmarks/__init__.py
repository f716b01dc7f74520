"""Benchmarks: objectives that return at no cost, a loss and the seconds of its training."""

from __future__ import annotations

from zerowait.benchmarks.data.errors import DamagedDataError, DataMissingError
from zerowait.benchmarks.own_table.family import from_dataframe
from zerowait.benchmarks.protocol import Benchmark, Fidelity
from zerowait.benchmarks.registry import Descriptor, Family, available, load
from zerowait.benchmarks.several_fidelities import with_fidelities

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
    "with_fidelities",
]
