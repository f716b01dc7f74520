"""DEHB with its own Dask workers; trainings continue."""

import json
import sys
import tempfile

import ConfigSpace
from dehb import DEHB

from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    x, y, epoch = eval_config["x"], eval_config["y"], fidels["epoch"]
    return {"loss": (x - 1.0) ** 2 + y**2 + 1.0 / epoch, "runtime": epoch * (500.0 + 90.0 * abs(x) + 40.0 * abs(y))}


class Objective(ObjectiveFuncWrapper):
    def __call__(self, config, fidelity, **data_to_scatter):
        results = super().__call__(eval_config=dict(config), fidels={"epoch": int(fidelity)}, **data_to_scatter)
        return {"fitness": results["loss"], "cost": results["runtime"]}


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    wrapper = Objective(
        train,
        n_workers=n_workers,
        n_evals=n_evals,
        n_actual_evals_in_opt=n_evals + n_workers,
        fidel_keys=["epoch"],
        continual_max_fidel=27,
    )
    space = ConfigSpace.ConfigurationSpace({"x": (-5.0, 5.0), "y": (-5.0, 5.0)}, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        optimizer = DEHB(
            f=wrapper, cs=space, min_fidelity=1, max_fidelity=27, n_workers=n_workers, output_path=folder, seed=0
        )
        optimizer.run(fevals=wrapper.n_actual_evals_in_opt)
    print(json.dumps(wrapper.get_results()["loss"]))
