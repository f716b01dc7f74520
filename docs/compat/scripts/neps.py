"""NePS: one program a worker, all with the same folder."""

import json
import logging
import random
import sys

import neps
import numpy as np
import torch

from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    x, y, epoch = eval_config["x"], eval_config["y"], fidels["epoch"]
    return {"loss": (x - 1.0) ** 2 + y**2 + 1.0 / epoch, "runtime": epoch * (500.0 + 90.0 * abs(x) + 40.0 * abs(y))}


class Objective(ObjectiveFuncWrapper):
    def __call__(self, x, y, epoch):
        return super().__call__(eval_config={"x": x, "y": y}, fidels={"epoch": int(epoch)})["loss"]


class Space(neps.PipelineSpace):
    x = neps.Float(-5.0, 5.0)
    y = neps.Float(-5.0, 5.0)
    epoch = neps.IntegerFidelity(1, 27)


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:3])
    index = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    logging.disable(logging.CRITICAL)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    wrapper = Objective(
        train,
        launch_multiple_wrappers_from_user_side=True,
        save_dir_name="neps",
        n_workers=n_workers,
        worker_index=index,
        n_evals=n_evals,
        n_actual_evals_in_opt=n_evals + n_workers,
        fidel_keys=["epoch"],
        continual_max_fidel=27,
    )
    neps.run(
        wrapper,
        Space(),
        optimizer="hyperband",
        root_directory="neps-log",
        total_evaluations_to_spend=wrapper.n_actual_evals_in_opt,
        worker_id=f"worker-{index}",
    )
    print(json.dumps(wrapper.get_results()["loss"]))
