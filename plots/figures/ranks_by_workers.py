"""Average ranks against the number of workers, and whether the order of optimizers depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zerowait.plots.drawing.panels import Canvas, described, draw_points, label_workers, spread_of
from zerowait.plots.statistics.arithmetic import Resample, average_ranks, generator, interval_of_mean
from zerowait.plots.statistics.interaction import PERMUTATIONS, interaction_test
from zerowait.plots.studies.blocks import Blocks, Horizon, blocks, compared_sentence, counted, left_out_sentence
from zerowait.suite.rules.errors import SpecificationError

if TYPE_CHECKING:
    import pandas as pd

    from zerowait.plots.statistics.arithmetic import Floats
    from zerowait.plots.studies.study import Study


def rank_by_workers_table(
    study: Study, *, fraction: float = 1.0, horizon: Horizon = "common", resample: Resample = "both"
) -> pd.DataFrame:
    """Return the average rank of each optimizer with each number of workers, and a test of their interaction.

    Columns: `optimizer`, `n_workers`, `rank`, `lower`, `upper`, `n_benchmarks`, `interaction` (its sum of squares) and
    `p_value` of the whole table.

    Parameters
    ----------
    study
        The runs.
    fraction
        Share of the budget at which is compared.
    horizon
        Until when optimizers are compared; see `zerowait.plots.studies.blocks`.
    resample
        What the bars take for a sample.

    Raises
    ------
    SpecificationError
        There is one optimizer or one number of workers, the fraction is not in (0, 1], or no benchmark can be compared
        with every number of workers.
    """
    import pandas as pd

    if not 0 < fraction <= 1:
        raise SpecificationError(f"fraction is {fraction}; it must be a share of the budget, above 0 and up to 1")
    groups = blocks(study, horizon)
    if len(groups[0].optimizers) < 2:  # noqa: PLR2004 - a rank needs a rival
        raise SpecificationError(f"ranks compare optimizers, and there is only {groups[0].optimizers[0]}")
    if len(groups) < 2:  # noqa: PLR2004 - a dependence needs two values
        raise SpecificationError(
            f"ranks are compared between numbers of workers, and there is only {groups[0].n_workers}"
        )
    shared = sorted(set.intersection(*(set(group.benchmarks) for group in groups)))
    if not shared:
        raise SpecificationError(
            "no benchmark can be compared with every number of workers; choose some with --where P=..."
        )
    strata = [_ranks(study, group, shared, fraction) for group in groups]
    # A block is a benchmark: its seeds are no independent witnesses of how optimizers compare on others.
    means = np.array([[of.mean(axis=0) for of in of_group] for of_group in strata]).swapaxes(0, 1)
    statistic, p = interaction_test(means, generator("interaction", *shared))
    rows = []
    for group, of_group in zip(groups, strata, strict=True):
        low, high = interval_of_mean(of_group, resample, "ranks by workers", group.n_workers)
        rank = np.mean([of.mean(axis=0) for of in of_group], axis=0)
        rows += [
            {
                "optimizer": name, "n_workers": group.n_workers, "rank": rank[i], "lower": float(low[i]),
                "upper": float(high[i]), "n_benchmarks": len(shared), "interaction": statistic, "p_value": p,
            }
            for i, name in enumerate(group.optimizers)
        ]  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["optimizer", "n_workers"], ignore_index=True)
    dropped = sorted({name for group in groups for name in group.benchmarks} - set(shared))
    return described(
        table,
        f"Average rank (1 is best, ties share their mean) at {100 * fraction:g} % of the budget, among the runs with",
        "the same benchmark and seed; who has no result yet is last.",
        "Whether the order of optimizers depends on the number of workers: permutation test over",
        f"{counted([len(shared)], 'benchmark')}, rankings permuted among numbers of workers within each, p = {p:.2g}",
        f"({PERMUTATIONS} permutations).",
        spread_of(table["lower"], resample, "bar"),
        compared_sentence(groups, horizon),
        left_out_sentence(groups),
        f"Left out, because not every number of workers has them: {', '.join(map(study.labels.text, dropped))}."
        if dropped
        else "",
    )


def draw_rank_by_workers(table: pd.DataFrame, canvas: Canvas) -> Any:
    """Draw what `rank_by_workers_table` returned, the best rank on top."""
    panels, used = canvas.grid(1, canvas.labels.ordered(table["optimizer"].unique()), height=1.2)
    (panel,) = used
    draw_points(panel, table, "rank", canvas)
    label_workers(panel, table["n_workers"])
    k = table["optimizer"].nunique()
    panel.set_ylim(k + 0.2, 0.8)
    panel.set_yticks(range(1, k + 1), [str(rank) for rank in range(1, k + 1)])
    canvas.ylabel(panel, "average rank (1 is best)")
    canvas.xlabel("workers P", f"does the order depend on P? p = {table['p_value'].iloc[0]:.2g}")
    canvas.legend(used)
    return panels


def _ranks(study: Study, group: Blocks, benchmarks: list[str], fraction: float) -> list[Floats]:
    """Return the ranks on each of these benchmarks, shape (seeds, optimizers)."""
    found = []
    for benchmark in benchmarks:
        at = group.benchmarks.index(benchmark)
        runs = group.runs[at]
        best = study.best_at(runs.ravel(), np.array([fraction * group.horizons[at]])).reshape(runs.shape)
        found.append(average_ranks(best))
    return found
