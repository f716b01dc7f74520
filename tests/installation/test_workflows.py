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


def test_a_release_publishes_the_site_that_was_built():
    jobs = workflow("release.yml")["jobs"]
    uploaded = next(step for step in jobs["build"]["steps"] if "upload-pages" in step.get("uses", ""))
    assert f"site: {uploaded['with']['path']}index.html" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert jobs["site"]["needs"] == "publish"
    assert jobs["site"]["permissions"] == {"id-token": "write", "pages": "write"}


def test_the_hooks_for_commits_are_what_make_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    programs = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert programs == {"ruff", "mypy", "lint-imports"}
    for program in programs:
        assert f"$(BIN)/{program}" in makefile


def test_issue_forms_ask_for_what_is_needed():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.stem for form in forms] == ["bug", "config", "idea"]
    for form in forms:
        content = yaml.safe_load(form.read_text(encoding="utf-8"))
        if form.stem != "config":
            assert {"name", "description", "body"} <= set(content)
            assert any(part["validations"]["required"] for part in content["body"] if "validations" in part)
