"""Times Syne Tune's simulator backend; run as a script by an interpreter that has Syne Tune and nothing of zerowait.

Reads `{"x": [...], "y": [...], "workers": P}` from standard input: losses and runtimes in the order in which
configurations are asked for. Prints one line of JSON: seconds of the loop, evaluations that were completed, version.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import logging
import sys
import tempfile
import time
from typing import Any


def measure(losses: list[float], runtimes: list[float], workers: int) -> dict[str, Any]:  # noqa: C901 - two small classes
    """Run the configurations through Syne Tune's tuner on simulated workers and return how long that took."""
    import numpy as np

    syne_tune = importlib.import_module("syne_tune")
    blackbox = importlib.import_module("syne_tune.blackbox_repository.blackbox")
    tabular = importlib.import_module("syne_tune.blackbox_repository.simulated_tabular_backend")
    callback = importlib.import_module("syne_tune.backend.simulator_backend.simulator_callback")
    scheduler = importlib.import_module("syne_tune.optimizer.scheduler")
    spaces = importlib.import_module("syne_tune.config_space")

    class Table(blackbox.Blackbox):  # type: ignore[misc, name-defined]
        """The workload: one fidelity, whose row is looked up."""

        def __init__(self) -> None:
            space = {"k": spaces.randint(0, len(losses) - 1)}
            super().__init__(space, {"epoch": spaces.randint(1, 1)}, ["loss", "seconds"])

        @property
        def fidelity_values(self) -> Any:
            return np.array([1])

        def _objective_function(self, configuration: dict[str, Any], fidelity: Any = None, seed: Any = None) -> Any:
            del fidelity, seed
            return np.array([[losses[configuration["k"]], runtimes[configuration["k"]]]])

    class Script(scheduler.TrialScheduler):  # type: ignore[misc, name-defined]
        """An optimizer that costs next to nothing."""

        asked = completed = 0

        def suggest(self) -> Any:
            if self.asked == len(losses):
                return None
            self.asked += 1
            return scheduler.TrialSuggestion.start_suggestion({"k": self.asked - 1})

        def on_trial_complete(self, trial: Any, result: Any) -> None:
            del trial, result
            self.completed += 1

        def on_trial_result(self, trial: Any, result: Any) -> str:
            del trial, result
            return "CONTINUE"

        def metric_names(self) -> list[str]:
            return ["loss"]

        def metric_mode(self) -> str:
            return "min"

        def metadata(self) -> dict[str, Any]:
            return {"metric_names": ["loss"], "metric_mode": "min"}

    logging.disable(logging.CRITICAL)
    script = Script(random_seed=0)
    with tempfile.TemporaryDirectory(prefix="zerowait-bench-") as folder:
        tuner = syne_tune.Tuner(
            trial_backend=tabular.UserBlackboxBackend(Table(), elapsed_time_attr="seconds"),
            scheduler=script,
            stop_criterion=syne_tune.StoppingCriterion(max_num_trials_finished=len(losses) - 1),
            n_workers=workers,
            sleep_time=0,
            callbacks=[callback.SimulatorCallback()],
            save_tuner=False,
            trial_backend_path=folder,
        )
        began = time.perf_counter()
        tuner.run()
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "completed": script.completed, "version": importlib.metadata.version("syne-tune")}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answer = measure(request["x"], request["y"], request["workers"])
    sys.stdout.write(json.dumps(answer) + "\n")
