"""A study as large as the largest, within the memory that the project promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from large import large_study

from zerowait.plots.catalogue import FIGURES

CODE = """
import json, resource, sys, time
sys.path.insert(0, {folder!r})
from large import large_table
from zerowait.plots.catalogue import FIGURES
from zerowait.plots.studies.study import study_of_table
table = large_table()
made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin, cpu = time.perf_counter(), time.process_time()
study = study_of_table(table)
del table
kinds = [kind for kind in FIGURES.values() if kind.is_of(study) and kind.name != "degradation"]
rows = {{kind.name: len(kind.table(study)) for kind in kinds}}
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
memory = {{"made": made / 1e6, "gigabytes": kilobytes / 1e6}}
print(json.dumps({{"runs": len(study), "rows": rows, "seconds": seconds, "cpu": cpu, **memory}}))
"""


def summarise():
    code = CODE.format(folder=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_every_table_of_a_small_one_is_made():
    study = large_study(benchmarks=2, seeds=2, evaluations=60)
    assert len(study) == 240
    # The last needs workers that are not perfect, and the table has none.
    assert all(len(kind.table(study)) for name, kind in FIGURES.items() if kind.is_of(study) and name != "degradation")


@pytest.mark.stress
def test_45000_runs_of_450_evaluations_are_summarised_within_4_gigabytes():
    found = summarise()
    print(found)  # noqa: T201 - the measurement
    assert found["runs"] == 45_000
    assert found["gigabytes"] < 4
