"""The real LCBench beside YAHPO's surrogate of it: seconds, ranking and the best configurations.

`python -m zerowait.experiments.measuring.real_and_surrogate FOLDER` draws the figure of docs/benchmarks/lcbench.md and
prints its numbers. It needs the data sets lcbench and lcbench_raw; the authors' final results of the other tasks, where
they lie beside the latter (`results_35_datasets.parquet`), give the last panel.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata  # type: ignore[import-untyped]

from zerowait import benchmarks
from zerowait.benchmarks.data.sources import data_set
from zerowait.benchmarks.surrogates.lcbench import TASKS
from zerowait.benchmarks.tables.lcbench_raw import LCBenchRaw

TASK = "167184"
"""The task whose real curves are at hand."""
BEST = 100
"""So many of the 2,000 configurations are the best ones."""
FIRST, FULL = 6, 50
RESULTS = "results_35_datasets.parquet"


@dataclass(frozen=True, slots=True)
class Curves:
    """Losses and seconds of the same configurations, each of shape (configurations, epochs 1 to 50)."""

    losses: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The seconds over those of the full training."""
        return self.seconds / self.seconds[:, -1:]

    def correlations(self) -> NDArray[np.float64]:
        """Return Spearman's correlation of the losses at each epoch with those at the last one."""
        ranks = rankdata(self.losses, axis=0)
        return np.array([np.corrcoef(ranks[:, epoch], ranks[:, -1])[0, 1] for epoch in range(ranks.shape[1])])


def real_curves() -> Curves:
    """Return what was trained."""
    benchmark = LCBenchRaw(TASK, answer="choice")
    found = [
        [benchmark({"configuration": number}, fidelity=epoch) for epoch in range(1, FULL + 1)] for number in range(2000)
    ]
    return Curves(
        np.array([[one.value for one in row] for row in found]),
        np.array([[one.runtime for one in row] for row in found]),
    )


def surrogate_curves() -> Curves:
    """Return what the surrogate says of the same configurations; its epoch e is the real epoch e - 1."""
    benchmark = benchmarks.load("lcbench", task=TASK, fidelity_range=[1, 52])
    losses, seconds = np.empty((2, 2000, FULL))
    for row, config in enumerate(_configurations()):
        for epoch in range(1, FULL + 1):
            found = benchmark(config, fidelity=epoch + 1)
            losses[row, epoch - 1], seconds[row, epoch - 1] = found.value, found.runtime
    return Curves(losses, seconds)


def best_overlaps() -> dict[str, float]:
    """Return, for each task of both, the share of the surrogate's best 100 that is among the real best 100."""
    columns = ["OpenML_task_id", "trial", "final_val_balanced_accuracy"]
    results = pd.read_parquet(data_set("lcbench_raw").home / RESULTS, columns=columns)
    overlaps = {}
    for task in TASKS:
        real = results[results.OpenML_task_id == int(task)].sort_values("trial").final_val_balanced_accuracy.to_numpy()
        benchmark = benchmarks.load("lcbench", task=task)
        predicted = np.array([benchmark(config).value for config in _configurations()])
        best = [set(np.argsort(values, kind="stable")[:BEST].tolist()) for values in (-real, predicted)]
        overlaps[task] = len(best[0] & best[1]) / BEST
    return overlaps


def _configurations() -> list[dict[str, float | int]]:
    table = LCBenchRaw(TASK)
    return [table.trained(number) for number in range(2000)]


def draw(real: Curves, surrogate: Curves, overlaps: dict[str, float], path: Path) -> None:
    """Draw seconds by epoch, ranking by epoch, and the best configurations."""
    epochs = np.arange(1, FULL + 1)
    styles = (("real", real, "#0072B2", "-"), ("surrogate", surrogate, "#D55E00", "--"))
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), constrained_layout=True)
    for name, curves, colour, line in styles:
        low, middle, high = np.quantile(100 * curves.shares, [0.05, 0.5, 0.95], axis=0)
        axes[0].fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
        axes[0].plot(epochs, middle, color=colour, linestyle=line, label=name)
        axes[1].plot(epochs, curves.correlations(), color=colour, linestyle=line, label=name)
    axes[0].plot(epochs, 100 * epochs / FULL, color="black", linestyle=":", linewidth=1, label="linear")
    axes[0].set(xlabel="epoch", ylabel="share of the full seconds, %", title="Clock (median, 5 to 95 %)")
    axes[1].set(xlabel="epoch", ylabel="Spearman, with the last epoch", title="Ranking", ylim=(0, 1.02))
    ordered = sorted(overlaps.values())
    axes[2].bar(range(len(ordered)), [100 * share for share in ordered], color="#009E73")
    axes[2].set(xlabel="task, in this order", ylabel="of the real best 100, %", title="The surrogate's best 100")
    axes[2].set(ylim=(0, 100))
    for axis in axes[:2]:
        axis.legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(folder: str) -> None:
    """Draw the figure into a folder and print its numbers."""
    real, surrogate, overlaps = real_curves(), surrogate_curves(), best_overlaps()
    for name, curves in (("real", real), ("surrogate", surrogate)):
        share = np.quantile(100 * curves.shares[:, FIRST - 1], [0.05, 0.5, 0.95])
        seconds = np.median(curves.seconds[:, [FIRST - 1, 16, FULL - 1]], axis=0)
        rank = curves.correlations()[[0, FIRST - 1, 16]]
        _out(
            f"{name}: {FIRST} of {FULL} epochs take {share[1]:.1f} % ({share[0]:.1f} to {share[2]:.1f}) of the time; "
            f"medians at {FIRST}, 17, {FULL}: {', '.join(f'{one:.2f}' for one in seconds)} s; correlation with the "
            f"end at 1, {FIRST}, 17: {', '.join(f'{one:.2f}' for one in rank)}"
        )
    shares = sorted(overlaps.values())
    middle = np.median(shares)
    _out(f"best {BEST}: {shares[0]:.0%} to {shares[-1]:.0%}, {middle:.0%} in the median of {len(shares)} tasks")
    draw(real, surrogate, overlaps, Path(folder) / "lcbench-real-and-surrogate.png")


def _out(text: str) -> None:
    print(text)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main(sys.argv[1])
