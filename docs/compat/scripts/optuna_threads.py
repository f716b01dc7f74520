"""Optuna's TPE with threads."""

import json
import sys

import optuna

from zerowait.compat.benchmark_simulator import ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    x, y = eval_config["x"], eval_config["y"]
    return {"loss": (x - 1.0) ** 2 + y**2, "runtime": 5000.0 + 900.0 * abs(x) + 400.0 * abs(y)}


class Objective(ObjectiveFuncWrapper):
    def __call__(self, trial):
        config = {name: trial.suggest_float(name, -5.0, 5.0) for name in "xy"}
        return super().__call__(eval_config=config)["loss"]


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    wrapper = Objective(train, n_workers=n_workers, n_evals=n_evals, n_actual_evals_in_opt=n_evals + n_workers)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(wrapper, n_trials=wrapper.n_actual_evals_in_opt, n_jobs=n_workers)
    print(json.dumps(wrapper.get_results()["loss"]))
