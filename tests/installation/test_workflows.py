"""What the workflows name is there, and a release needs no password; `make workflows` checks their syntax."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from fresh import ROOT

FOLDER = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def workflow(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def steps(jobs):
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("name", ["tests.yml", "release.yml"])
def test_every_command_of_a_workflow_is_one_that_there_is(name):
    commands = [step["run"].split() for step in steps(workflow(name)["jobs"]) if "run" in step]
    for program, *arguments in commands:
        assert program in ("make", ".ci/run", "grep")
        if program == "make":
            assert arguments[0] in TARGETS, arguments
        elif program == ".ci/run":
            assert (ROOT / program).stat().st_mode & 0o100


def test_ci_runs_targets_that_there_are():
    targets = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets[0] == "test"
    assert set(targets) <= TARGETS


def test_the_pythons_that_are_declared_are_tested():
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert declared == workflow("tests.yml")["jobs"]["newest"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_a_release_is_built_and_checked_first_and_published_without_a_password():
    text = (FOLDER / "release.yml").read_text(encoding="utf-8")
    build, publish = (workflow("release.yml")["jobs"][name] for name in ("build", "publish"))
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "permissions" not in build
    assert "secrets." not in text
    checks = [step.get("run") for step in build["steps"]]
    assert checks.index(".ci/run") < checks.index("make verify-archives") < checks.index("make archives")
