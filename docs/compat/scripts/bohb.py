"""BOHB of HpBandSter: each worker has a wrapper of its own, in a thread."""

import json
import logging
import os
import sys

os.environ.update(PYRO_SERIALIZER="pickle", PYRO_SERIALIZERS_ACCEPTED="pickle")  # HpBandSter with a newer ConfigSpace

import ConfigSpace
import numpy as np
from hpbandster.core.nameserver import NameServer
from hpbandster.core.worker import Worker
from hpbandster.optimizers import BOHB

from zerowait.compat.benchmark_simulator import get_multiple_wrappers


def train(eval_config, fidels=None, seed=None):
    x, y, epoch = eval_config["x"], eval_config["y"], fidels["epoch"]
    return {"loss": (x - 1.0) ** 2 + y**2 + 1.0 / epoch, "runtime": epoch * (500.0 + 90.0 * abs(x) + 40.0 * abs(y))}


class Wrapped(Worker):
    def __init__(self, wrapper, **arguments):
        super().__init__(**arguments)
        self.wrapper = wrapper

    def compute(self, config, budget, config_id, **_):
        number = config_id[0] + 100_000 * config_id[2]
        results = self.wrapper(eval_config=config, fidels={"epoch": int(budget)}, config_id=number)
        return {"loss": float(results["loss"]), "info": {}}


if __name__ == "__main__":
    n_workers, n_evals = map(int, sys.argv[1:])
    logging.disable(logging.CRITICAL)
    np.random.seed(0)
    space = ConfigSpace.ConfigurationSpace({"x": (-5.0, 5.0), "y": (-5.0, 5.0)}, seed=0)
    server = NameServer(run_id="bohb", host="127.0.0.1", port=0)
    host, port = server.start()
    wrappers = get_multiple_wrappers(
        train,
        n_workers=n_workers,
        n_evals=n_evals,
        n_actual_evals_in_opt=n_evals + n_workers,
        fidel_keys=["epoch"],
        continual_max_fidel=27,
    )
    at = {"run_id": "bohb", "nameserver": host, "nameserver_port": port}
    for number, wrapper in enumerate(wrappers):
        Wrapped(wrapper, id=number, **at).run(background=True)
    optimizer = BOHB(configspace=space, min_budget=1, max_budget=27, ping_interval=3600, **at)
    optimizer.run(n_iterations=1 + n_evals // 10, min_n_workers=n_workers)
    optimizer.shutdown(shutdown_workers=True)
    server.shutdown()
    print(json.dumps(wrappers[0].get_results()["loss"]))
