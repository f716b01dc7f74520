"""The whole process tree of a study is killed at random moments; what comes of it is the same, byte for byte.

`ZEROWAIT_KILL_SEED=<number>` draws other moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import time

import psutil
import pytest

SEED = int(os.environ.get("ZEROWAIT_KILL_SEED", "1"))


def bytes_of(folder):
    """Return the bytes of everything that a study's cells consist of, except what is measured on this machine."""
    files = [file for file in (folder / "cells").rglob("*") if file.is_file() and "measured" not in file.name]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def kill_tree(process):
    """Kill a process and all its descendants at one moment, as far as there is one."""
    root = psutil.Process(process.pid)
    root.suspend()  # so that it starts nobody while the others are looked for
    for one in [root, *root.children(recursive=True)]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(timeout=300)


def survive(zerowait, study_file, tmp_path, seeds, kills):
    changes = (("seeds = 2", f"seeds = {seeds}"), ("max_evaluations = 12", "max_evaluations = 60"))
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    begin = time.monotonic()
    done = zerowait("run", study_file(*changes), "--output", undisturbed, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    whole = time.monotonic() - begin
    study, rng, killed = study_file(*changes), random.Random(SEED), 0
    finished_before = set()
    while killed < kills:
        process = subprocess.Popen(
            [zerowait.command, "run", study, "--output", disturbed, "--jobs", "2"],
            cwd=zerowait.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        # From before the first process starts until after the last cell.
        try:
            process.wait(timeout=rng.uniform(0.1, 1.1 * whole))
        except subprocess.TimeoutExpired:
            kill_tree(process)
        killed += 1
        finished = {path.name for path in (disturbed / "cells").glob("[0-9a-f]*") if "." not in path.name}
        assert finished_before <= finished
        finished_before = finished
    done = zerowait("run", study, "--output", disturbed, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    expected, found = bytes_of(undisturbed), bytes_of(disturbed)
    assert len([name for name in expected if name.endswith("trace.parquet")]) == 4 * seeds
    assert expected.keys() == found.keys()
    assert expected == found
    assert zerowait("status", study, "--output", disturbed).returncode == 0


def test_a_study_of_8_cells_survives_2_kills_of_everything(zerowait, study_file, tmp_path):
    survive(zerowait, study_file, tmp_path, seeds=2, kills=2)


@pytest.mark.stress
@pytest.mark.timeout(1500)
def test_a_study_of_60_cells_survives_10_kills_of_everything(zerowait, study_file, tmp_path):
    survive(zerowait, study_file, tmp_path, seeds=15, kills=10)
