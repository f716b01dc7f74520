"""Ctrl-C in the middle of a native run ends every thread and process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import adapters, benchmarks
from suite import Budget, Overhead
print("started", flush=True)
adapters.load(sys.argv[1]).optimize(
    benchmarks.load("branin"), n_workers=8, seed=0, budget=Budget(max_evaluations=1_000_000), overhead=Overhead.none(),
    directory=sys.argv[2], mode="native",
)
"""


@pytest.mark.parametrize("optimizer", ["random", "optuna-random", "optuna-tpe"])
def test_control_c_ends_a_native_run_and_leaves_its_journal(optimizer, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, optimizer, str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    journal = tmp_path / "run" / "journal"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < 10_000:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    # Two seconds are what a person waits; a loaded machine gets some more before this is a failure.
    assert time.monotonic() - began < 6
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    _, alive = psutil.wait_procs([psutil.Process(p) for p in family if psutil.pid_exists(p)], timeout=5)
    assert not alive

    from suite.check import check

    report = check(tmp_path / "run")
    assert report.violations == ()
    assert report.n_records > 10
