"""SMAC with its own Dask workers."""

import json
import sys
import tempfile

import ConfigSpace
from smac import HyperparameterOptimizationFacade, Scenario

from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    x, y = eval_config["x"], eval_config["y"]
    return {"loss": (x - 1.0) ** 2 + y**2, "runtime": 5000.0 + 900.0 * abs(x) + 400.0 * abs(y)}


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    wrapper = ObjectiveFuncWrapper(
        train, n_workers=n_workers, n_evals=n_evals, n_actual_evals_in_opt=n_evals + n_workers
    )
    space = ConfigSpace.ConfigurationSpace({"x": (-5.0, 5.0), "y": (-5.0, 5.0)}, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            n_trials=wrapper.n_actual_evals_in_opt,
            n_workers=n_workers,
            deterministic=True,
            output_directory=folder,
            seed=0,
        )

        def target(config, seed=0):  # SMAC takes functions only
            return wrapper(eval_config=dict(config))["loss"]

        HyperparameterOptimizationFacade(scenario, target, overwrite=True, logging_level=50).optimize()
        print(json.dumps(wrapper.get_results()["loss"]), flush=True)
