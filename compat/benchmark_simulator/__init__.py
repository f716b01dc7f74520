"""The names of mfhpo-simulator 1.4.6 (`benchmark_simulator`), with zerowait behind them.

`from benchmark_simulator import ...` becomes `from zerowait.compat.benchmark_simulator import ...`, and
`benchmark_simulator.utils` the module `utils` here. What is different on purpose is listed, with numbers, in
docs/compat/mfhpo-simulator.md.
"""

from zerowait.compat.benchmark_simulator.interface import AbstractAskTellOptimizer, ObjectiveFuncType
from zerowait.compat.benchmark_simulator.wrapper import ObjectiveFuncWrapper, get_multiple_wrappers

__all__ = ["AbstractAskTellOptimizer", "ObjectiveFuncType", "ObjectiveFuncWrapper", "get_multiple_wrappers"]
