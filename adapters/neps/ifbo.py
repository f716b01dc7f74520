"""ifBO of NePS with several workers: two defects of NePS 0.17.0 that end a run, and what is done about them.

* `acquire_next_from_ftpfn` indexes the scores of the configurations that could be continued. When there is exactly
  one of them, `FTPFNSurrogate.get_pi` squeezes the scores to a number, and indexing it raises `IndexError`. That
  happens to every run with more workers than initial configurations.
* `IFBO.__call__` offers for continuation every configuration with a result, also when its next step is being
  evaluated. If it is chosen, the new trial has the id of the one that runs, which `neps.run` refuses ten times and
  then gives up, and which `AskAndTell` silently replaces.

Both are cured where that function is called: scores are a vector, and running configurations are not offered. The
method itself is NePS's own code, compiled by NePS, with one of its global names bound to ours.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from neps.optimizers import algorithms, ifbo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import neps
    from neps.state import BudgetInfo, Trial


class ParallelIFBO(ifbo.IFBO):
    """NePS's ifBO, which leaves running configurations alone."""

    def __call__(self, trials: Mapping[str, Trial], budget_info: BudgetInfo | None = None, n: int | None = None) -> Any:
        """Return the next trial."""
        # NePS adds one to the numbers of configurations, since 0 stands for new ones.
        running = [int(name.partition("_")[0]) + 1 for name, trial in trials.items() if trial.report is None]

        def acquire(
            *, continuation_samples: torch.Tensor, acq_function: Callable[[torch.Tensor], torch.Tensor], **others: Any
        ) -> torch.Tensor:
            idle = ~torch.isin(continuation_samples[:, 0], torch.tensor(running, dtype=continuation_samples.dtype))
            chosen: torch.Tensor = names["acquire_next_from_ftpfn"](
                continuation_samples=continuation_samples[idle],
                acq_function=lambda samples: acq_function(samples).reshape(-1),
                **others,
            )
            return chosen

        names = vars(ifbo)
        own = FunctionType(ifbo.IFBO.__call__.__code__, {**names, "acquire_next_from_ftpfn": acquire})
        return own(self, trials, budget_info, n)


def make_ifbo(pipeline_space: neps.PipelineSpace, **arguments: Any) -> ParallelIFBO:
    """Return what `neps.algorithms.ifbo` returns, able to run with several workers."""
    made = algorithms.ifbo(pipeline_space, **arguments)
    return ParallelIFBO(**vars(made))


def offer_parallel_ifbo() -> None:
    """Let `neps.run` find it under the name 'ifbo', in this process and those forked from it."""
    known: Any = algorithms.PredefinedOptimizers
    known["ifbo"] = make_ifbo
