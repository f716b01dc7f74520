"""Optuna's TPE, asked and told: the simulated workers are in one process."""

import json
import sys

import optuna

from zerowait.compat.benchmark_simulator import AbstractAskTellOptimizer, ObjectiveFuncWrapper


def train(eval_config, fidels=None, seed=None):
    x, y = eval_config["x"], eval_config["y"]
    return {"loss": (x - 1.0) ** 2 + y**2, "runtime": 5000.0 + 900.0 * abs(x) + 400.0 * abs(y)}


class Optuna(AbstractAskTellOptimizer):
    def __init__(self):
        self.study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        self.trials = {}

    def ask(self):
        trial = self.study.ask()
        self.trials[trial.number] = trial
        return {name: trial.suggest_float(name, -5.0, 5.0) for name in "xy"}, None, trial.number

    def tell(self, eval_config, results, *, fidels=None, config_id=None):
        self.study.tell(self.trials.pop(config_id), results["loss"])


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    wrapper = ObjectiveFuncWrapper(
        train,
        ask_and_tell=True,
        n_workers=n_workers,
        n_evals=n_evals,
        n_actual_evals_in_opt=n_evals + n_workers,
        expensive_sampler=True,
    )
    wrapper.simulate(Optuna())
    print(json.dumps(wrapper.get_results()["loss"]))
