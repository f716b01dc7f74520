"""Optimizers, one module for each library, behind one interface."""

from __future__ import annotations

from adapters.adapter import Adapter, Benchmark, Mode, Run
from adapters.registry import Descriptor, available, load

__all__ = ["Adapter", "Benchmark", "Descriptor", "Mode", "Run", "available", "load"]
