"""Optimizers, one module for each library, behind one interface."""

from __future__ import annotations

from zerowait.adapters.adapter import MODES, Adapter, Benchmark, Mode, Run
from zerowait.adapters.registry import Descriptor, available, load

__all__ = ["MODES", "Adapter", "Benchmark", "Descriptor", "Mode", "Run", "available", "load"]
