"""The commands `zerowait env ...` as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from zerowait.adapters.environments import environments

ROOT = Path(__file__).resolve().parents[3]
KEPT = os.environ.get("ZEROWAIT_ENVIRONMENTS", str(ROOT / ".venv-environments"))
ENVIRONMENTS = ("dehb", "hebo", "hpbandster", "neps", "optuna", "smac")


def test_every_environment_is_listed_with_what_to_do(zerowait, tmp_path):
    done = zerowait("env", "list", ZEROWAIT_ENVIRONMENTS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert tuple(lines) == ENVIRONMENTS
    assert "not needed: the library is installed here" in lines["dehb"]
    assert "neps-hyperband, neps-asha" in lines["neps"]
    assert str(tmp_path / "dehb-") in lines["dehb"]


def test_what_is_half_done_or_of_another_version_is_listed_and_removed(zerowait, tmp_path):
    (tmp_path / "dehb-01234567").mkdir()
    listed = zerowait("env", "list", ZEROWAIT_ENVIRONMENTS=str(tmp_path)).stdout
    assert "of another version of zerowait or Python; remove it with `zerowait env remove dehb`" in listed
    folder = Path(next(line.split()[-1] for line in listed.splitlines() if line.startswith("smac ")))
    folder.mkdir()
    listed = zerowait("env", "list", ZEROWAIT_ENVIRONMENTS=str(tmp_path)).stdout
    assert "incomplete: create it with `zerowait env create smac`" in listed
    assert zerowait("env", "remove", "smac", ZEROWAIT_ENVIRONMENTS=str(tmp_path)).stdout == f"removed {folder}\n"
    assert zerowait("env", "remove", "smac", ZEROWAIT_ENVIRONMENTS=str(tmp_path)).stdout == "smac: there is none\n"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "here" not in path.name] == ["dehb-01234567"]


@pytest.mark.parametrize("command", ["create", "verify", "remove"])
def test_an_unknown_name_is_refused_in_one_line(zerowait, command):
    done = zerowait("env", command, "dheb")
    assert done.returncode == 2
    assert done.stderr == f"zerowait: there is no environment 'dheb'; known are {', '.join(ENVIRONMENTS)}\n"


def test_verifying_what_does_not_exist_says_how_to_create_it(zerowait, tmp_path):
    done = zerowait("env", "verify", "dehb", ZEROWAIT_ENVIRONMENTS=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "zerowait: there is no environment 'dehb'; create it with `zerowait env create dehb`\n"


@pytest.mark.timeout(600)
def test_an_environment_is_created_and_verified(zerowait):
    created = zerowait("env", "create", "dehb", ZEROWAIT_ENVIRONMENTS=KEPT)
    assert created.returncode == 0, created.stderr
    verified = zerowait("env", "verify", "dehb", ZEROWAIT_ENVIRONMENTS=KEPT)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith("dehb: as pinned, in ")


def test_a_damaged_environment_is_told_with_the_remedy(zerowait, tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(tmp_path))
    wanted = environments.environment("dehb")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", wanted.folder], check=True)
    # The manifest says that it is complete, and it finds here what zerowait needs, but DEHB is torn.
    (wanted.folder / "environment.json").write_text('{"versions": {}}')
    (site,) = wanted.folder.glob("lib/python*/site-packages")
    (site / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (site / "dehb.py").write_text("raise ImportError('torn')\n")
    damaged = zerowait("env", "verify", "dehb")
    assert damaged.returncode == 1
    assert "dehb: dehb cannot be imported: ImportError: torn\n" in damaged.stdout
    assert "dehb: numpy has version " in damaged.stdout
    assert damaged.stderr == (
        "dehb: build it again: zerowait env remove dehb && zerowait env create dehb\n"
    )  # fmt: skip
