"""Optimizers, one module for each library, behind one interface."""

from __future__ import annotations

from zerowait.adapters.adapter import Adapter, Benchmark, Mode, Run
from zerowait.adapters.registry import Descriptor, available, load

__all__ = ["Adapter", "Benchmark", "Descriptor", "Mode", "Run", "available", "load"]
