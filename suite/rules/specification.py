"""The specification of a run: what two processes must agree on to work on the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zerowait.suite.rules import arguments
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.cluster import Cluster
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.fidelities import Fidelities
from zerowait.suite.rules.overhead import Overhead

MAX_WORKERS = 100_000
"""Of a `Simulator`, which keeps a record and a FIFO for each."""
MAX_ASK_TELL_WORKERS = 10_000_000
"""Of `simulate`, which needs some hundred bytes for each."""
HOW_IT_IS_SHARED = ("on_worker_death", "shared_directory", "locks")
"""What processes must agree on and a trace leaves out: it is the same in every mode."""


def make_specification(
    n_workers: int,
    budget: Budget,
    seed: int,
    overhead: Overhead,
    *,
    continual: bool,
    labels: Mapping[str, Any] | None,
    cluster: Cluster | None,
    fidelities: Fidelities | None,
    **more: Any,
) -> dict[str, Any]:
    """Return the specification as plain JSON data.

    Raises
    ------
    SpecificationError
        The labels have no JSON form.
    """
    try:
        plain_labels = arguments.json_data("labels", arguments.mapping("labels", labels))
        plain_labels = json.loads(json.dumps(plain_labels, sort_keys=True))
    except RecursionError:
        raise SpecificationError("labels hold themselves; they must be a mapping of texts to what JSON knows") from None
    return {
        "n_workers": n_workers,
        **budget.to_json(),
        "seed": seed,
        "overhead": overhead.to_json(),
        "continual": continual,
        "labels": plain_labels,
        **({} if cluster is None else {"cluster": cluster.to_json()}),
        **({} if fidelities is None else {"fidelities": fidelities.to_json()}),
        **more,
    }
