"""Random search on a pool of processes."""

import json
import multiprocessing
import random
import sys

from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    return {"loss": eval_config["x"] ** 2, "runtime": 5000.0 + 900.0 * abs(eval_config["x"])}


class Objective(ObjectiveFuncWrapper):
    def __call__(self, x):
        return super().__call__(eval_config={"x": x})["loss"]


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    wrapper = Objective(train, n_workers=n_workers, n_evals=n_evals, n_actual_evals_in_opt=n_evals + n_workers)
    draw = random.Random(0)
    with multiprocessing.Pool(n_workers) as pool:
        numbers = [draw.uniform(-5.0, 5.0) for _ in range(wrapper.n_actual_evals_in_opt)]
        pool.map(wrapper, numbers, chunksize=1)
    print(json.dumps(wrapper.get_results()["loss"]))
