"""Study files that are none: each is one clear line that names the file, and none is run in silence."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.studies.study import Study, load_study
from zerowait.suite.rules.errors import SpecificationError

GOOD = """\
name = "small"
workers = [1, 2]
seeds = 2
overhead = "none"
output = "out"
[budget]
max_evaluations = 4
[[optimizers]]
name = "random"
[[benchmarks]]
name = "branin"
"""

CHANGES = [
    ('name = "small"', text)
    for text in ('name = ""', 'name = "a/b"', 'name = "../x"', "name = 3", 'name = "a\\u0000b"', 'name = [""]', "")
] + [
    ("workers = [1, 2]", f"workers = {text}")
    for text in ("[]", "[0]", "[-1]", "[1, 1]", "[1.0]", '["1"]', "[true]", "1", "[[1]]", "[99999999999999999999]")
] + [
    ("seeds = 2", f"seeds = {text}")
    for text in ("0", "-1", "1.5", '"2"', "true", "[]", "[0, 0]", "[-1]", "[1.5]", "99999999", "{a = 1}", f"{10**30}")
] + [
    ('overhead = "none"', f"overhead = {text}")
    for text in ('"non"', "1", "{}", "{fixed = -1}", "{fixed = nan}", '{fixed = "1"}', "{fixed = true}", "{base = 1}",
                 "{fixed = 1, base = 1, per_result = 1}", '{fixed = 1, sampling = "x"}', "[1]",
                 '{sampling = "serial"}', "{fixed = 1e400}", "true")
] + [
    ('output = "out"', f"output = {text}") for text in ('""', '"a\\u0000b"', "3", '"a\\nb"', "[]", "true")
] + [
    ("max_evaluations = 4", text)
    for text in ("", "max_evaluations = 0", "max_evaluations = 1.0", 'max_evaluations = "4"', "max_time = inf",
                 "max_time = nan", "max_time = -1", "full_trainings = 0", "max_evaluation = 4",
                 "max_evaluations = [4]")
] + [
    ('name = "random"', text)
    for text in ("", 'name = "randm"', 'name = "random"\nmode = "fast"', 'name = "random"\nlabel = ""', "name = 1",
                 'name = "random"\nparameters = {self = 1}', 'name = "random"\nparameters = {name = "x"}',
                 'name = "random"\nparameters = {x = 1}', 'name = "random"\nparameters = {"a b" = 1}',
                 'name = "random"\nparameters = 3', 'name = "random"\ncontinual = "yes"', 'name = "random"\nseed = 1',
                 'name = "random"\nlabel = 3', 'name = "random"\nmode = ["native"]', 'name = "hyperband"\nmode = "x"')
] + [
    ('name = "branin"', text)
    for text in ("", 'name = "branim"', 'name = "branin"\ntasks = []', 'name = "branin"\ntasks = ["x"]',
                 'name = "branin"\ntasks = "x"', 'name = "branin/x"', 'name = "branin"\nparameters = {task = "x"}',
                 'name = "branin"\nparameters = {self = 1}', 'name = "branin"\nparameters = {nois = 1}', "name = 1",
                 'name = "*x"', 'name = "branin"\nparameters = {noise = "loud"}', 'name = "["', 'name = "/"')
] + [("seeds = 2", f"seeds = {text}") for text in ("[" * 5000, "1" * 5000, "2 2", "'", "\x00")]  # fmt: skip


def refused(path: Path) -> str:
    """Return the error of a study file, which must be one line that names the file."""
    with pytest.raises(SpecificationError) as caught:
        make_plan(load_study(path), str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert len(text) < 2000
    return text


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=range(len(CHANGES)))
def test_a_study_file_with_a_mistake_is_one_line_that_names_it(tmp_path, old, new):
    assert len(CHANGES) >= 50
    path = tmp_path / "study.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    refused(path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"\x00" * 100, b"[" * 100_000, GOOD.encode("utf-16"), b"\x89PNG"])
def test_bytes_that_are_no_toml_are_one_line(tmp_path, data):
    path = tmp_path / "study.toml"
    path.write_bytes(data)
    refused(path)


def test_what_is_no_file_is_one_line_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "folder").mkdir()
    assert "is no regular file" in refused(tmp_path / "fifo")
    assert "it has 1099511627776 bytes" in refused(tmp_path / "sparse")
    assert "this folder has no study.toml" in refused(tmp_path / "folder")
    assert "is no regular file" in refused(Path("/dev/zero"))
    assert "no such file" in refused(tmp_path / "nowhere")
    for path in ("a\0b", "x" * 5000):
        with pytest.raises(SpecificationError):
            load_study(path)


def test_a_study_file_may_be_called_by_a_link(tmp_path):
    (tmp_path / "study.toml").write_text(GOOD)
    (tmp_path / "link.toml").symlink_to("study.toml")
    assert load_study(tmp_path / "link.toml").name == "small"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_file_with_random_damage_is_a_study_or_one_line(tmp_path, seed):
    draw = random.Random(seed)
    data = bytearray(GOOD.encode())
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data))
        if draw.random() < 0.5:
            data[place] = draw.randrange(256)
        else:
            del data[place : place + draw.randint(1, 20)]
    path = tmp_path / "study.toml"
    path.write_bytes(data)
    try:
        found: Study | str = load_study(path)
    except SpecificationError as error:
        found = str(error)
    assert isinstance(found, Study) or (str(path) in found and "\n" not in found)
