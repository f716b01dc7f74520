"""Whatever stands in a run's files, a check ends, with a report or an error of one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from drivers import Lookup, with_threads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerowait.experiments.commands import cli
from zerowait.suite import Overhead, Query, Simulator
from zerowait.suite.records.journal_to_trace import read_run
from zerowait.suite.rules.errors import RunDirectoryError, RunMismatchError, ZerowaitError
from zerowait.suite.sharing import journal

N = 12
LONGEST = 20.0  # CPU seconds, whatever else the machine does; a check of this run takes some milliseconds


@pytest.fixture(scope="module", params=[False, True], ids=["one host", "several hosts"])
def template(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp("template") / "run"
    queries = [Query({"x": k % 4, "text": "é"}, (1.0, 3.0, 9.0)[k // 4]) for k in range(N)]
    trace = with_threads(
        queries, Lookup(tuple(1.0 + k for k in range(4))), n_workers=3, directory=directory, max_evaluations=N,
        max_time=1e6, overhead=Overhead.fixed(0.5), continual=True, shared_directory=request.param,
    )  # fmt: skip
    assert len(trace) == N
    return directory


def zerowait_check(directory):
    """Run the command in this process; return its exit code, output and errors, written in a strict encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with (
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        mock.patch.object(sys, "argv", ["zerowait", "check", str(directory)]),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    texts = []
    for stream in streams:
        stream.seek(0)
        texts.append(stream.read())
    return ended.value.code, *texts


def ends_well(directory):
    """Check the run; assert that it ends in time with a report or a line; return the exit code."""
    began = time.thread_time()
    code, output, errors = zerowait_check(directory)
    with contextlib.suppress(ZerowaitError):
        read_run(directory)
    assert time.thread_time() - began < LONGEST
    assert "Traceback" not in output + errors
    if code == 2:
        assert output == ""
        (line,) = errors.splitlines()
        assert line.startswith("zerowait: ")
    else:
        *lines, summary = output.splitlines()
        assert all(line.startswith(("record ", "journal: ", "note: ")) for line in lines)
        violations = [line for line in lines if not line.startswith("note: ")]
        assert " records checked: " in summary
        assert code == (1 if violations else 0)
        assert errors == ""
    return code


class Copy:
    """A copy of a run's directory, to be changed."""

    def __init__(self, template, folder):
        self.directory = Path(shutil.copytree(template, Path(folder) / "run", ignore=shutil.ignore_patterns("wake")))
        self.content = json.loads((self.directory / "run.json").read_text())
        self.records = journal.read(self.directory / "journal")

    def write_specification(self):
        (self.directory / "run.json").write_text(json.dumps(self.content))

    def write_journal(self):
        lines = [journal.line(json.dumps(r, separators=(",", ":")).encode()) for r in self.records]
        (self.directory / "journal").write_bytes(b"".join(lines))


@contextlib.contextmanager
def a_copy(template):
    with tempfile.TemporaryDirectory() as folder:
        yield Copy(template, folder)


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


NASTY = st.sampled_from(
    [
        2**200,
        -(2**200),
        10**4000,
        10**309,
        -1,
        0,
        2**63,
        2**64 - 1,
        1e308,
        -0.0,
        5e-324,
        float("nan"),
        float("inf"),
        None,
        True,
        False,
        "",
        "fixed(abc)",
        "linear(1,x)",
        "fixed(inf)",
        "fixed(nan)",
        "fixed(-1)",
        "model(",
        "none",
        "linear(1e300,1e300)",
        "fixed(1)\n",
        "measured",
        "\ud800",
        "\x00\x1b[2J\n\u2028",
        "é" * 10_000,
        [],
        {},
        deep(900),
        {"name": "fixed(abc)", "sampling": "serial"},
        {"name": "none"},
        {"name": 3, "sampling": None},
        {"\ud800": 1},
    ]
).map(lambda value: dict(value) if isinstance(value, dict) else value)  # fmt: skip - changed below, so never shared
JSON = st.recursive(
    NASTY | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=5,
)
FEW = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])


def changed_somewhere(data, table, values):
    """Change, remove or add an entry somewhere in nested tables."""
    while True:
        name = data.draw(st.sampled_from([*sorted(table), "new"]))
        if isinstance(table.get(name), dict) and data.draw(st.booleans()):
            table = table[name]
            continue
        if data.draw(st.integers(0, 5)) == 0:
            table.pop(name, None)
        else:
            table[name] = data.draw(values)
        return


@given(st.data())
@FEW
def test_a_specification_that_somebody_has_changed_ends_in_a_report_or_in_a_line(template, data):
    with a_copy(template) as run:
        for _ in range(data.draw(st.integers(1, 3))):
            changed_somewhere(data, run.content, JSON)
        run.write_specification()
        ends_well(run.directory)


@given(st.data())
@FEW
def test_records_that_somebody_has_changed_end_in_a_report(template, data):
    with a_copy(template) as run:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, N - 1))
            changed_somewhere(data, run.records[place], JSON)
        run.write_journal()
        if data.draw(st.booleans()):
            (run.directory / "slots").unlink()
        assert ends_well(run.directory) in (0, 1)


@given(st.data())
@FEW
def test_any_bytes_in_any_file_end_in_a_report_or_in_a_line(template, data):
    with a_copy(template) as run:
        path = run.directory / data.draw(st.sampled_from(["run.json", "journal", "slots"]))
        content = path.read_bytes()
        first, last = sorted(data.draw(st.integers(0, min(len(content), 6000))) for _ in range(2))
        path.write_bytes(content[:first] + data.draw(st.binary(max_size=200)) + content[last:])
        ends_well(run.directory)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", 2**200, "seed is 1606938044258990275541962092"),
        ("seed", True, "seed is True; it must be of type int"),
        ("n_workers", 10**12, "n_workers is 1000000000000; it must be from 1 to 100000"),
        ("overhead", {"name": "fixed(abc)", "sampling": "serial"}, "'fixed(abc)', which is no policy"),
        ("overhead", {"name": "linear(1,x)", "sampling": "serial"}, "'linear(1,x)', which is no policy"),
        ("overhead", {"name": "fixed(inf)", "sampling": "serial"}, "the fixed overhead is inf"),
        (
            "overhead",
            {"name": "cheap", "sampling": "serial"},
            "'cheap', which is no policy: it must be one of none",
        ),
        ("overhead", {"name": "none", "sampling": "both"}, "sampling is 'both'; it must be 'serial' or 'parallel'"),
        ("overhead", {"name": "none"}, "it must have a name and a sampling"),
        ("continual", "yes", "continual is 'yes'; it must be of type bool"),
        ("max_time", "1", "max_time is '1'; it must be a positive number of seconds, or None"),
    ],
)
def test_a_specification_that_no_run_has_is_one_line_that_names_the_field(template, tmp_path, field, value, said):
    run = Copy(template, tmp_path)
    run.content["specification"][field] = value
    run.write_specification()
    code, output, errors = zerowait_check(run.directory)
    assert (code, output) == (2, "")
    assert f"zerowait: {run.directory / 'run.json'} is damaged: its specification is not usable: " in errors
    assert said in errors
    with pytest.raises(RunDirectoryError, match=r"run\.json is damaged"):
        read_run(run.directory)


def test_a_run_without_a_specification_is_refused_also_to_those_who_would_join(template, tmp_path):
    run = Copy(template, tmp_path)
    del run.content["specification"]
    run.write_specification()
    assert "it holds no specification" in zerowait_check(run.directory)[2]
    with pytest.raises(RunDirectoryError, match="it holds no specification"):
        Simulator(Lookup((1.0,)), n_workers=3, directory=run.directory)


@pytest.mark.parametrize("name", ["run.json", "journal", "slots"])
def test_a_file_that_never_ends_is_refused(template, tmp_path, name):
    run = Copy(template, tmp_path)
    (run.directory / name).unlink()
    os.mkfifo(run.directory / name)
    code, _, errors = zerowait_check(run.directory)
    assert code == 2
    assert "is no regular file" in errors


def test_bytes_that_would_play_with_the_terminal_are_shown_as_text(template, tmp_path):
    run = Copy(template, tmp_path)
    lines = (run.directory / "journal").read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:40] + b"\x1b[2J\r\xff" + lines[3][40:]
    (run.directory / "journal").write_bytes(b"".join(lines))
    code, output, _ = zerowait_check(run.directory)
    assert code == 1
    assert output.isascii()
    assert "\\x1b[2J\\x0d\\xff" in output


def test_the_command_writes_names_that_the_terminal_cannot_show(template, tmp_path):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(template, strange, ignore=shutil.ignore_patterns("wake"))
    (strange / "journal").unlink()
    code, _, errors = zerowait_check(strange)
    assert code == 2
    assert "caf\\udce9/journal cannot be read: No such file" in errors


def test_a_specification_of_any_depth_can_be_compared(template, tmp_path):
    run = Copy(template, tmp_path)
    run.content["specification"]["labels"] = {"a": deep(900)}
    run.write_specification()
    with pytest.raises(RunMismatchError, match=r"holds a run with continual=True, not False"):
        Simulator(Lookup((1.0,)), n_workers=3, directory=run.directory)
    with pytest.raises(RunMismatchError, match=r"holds a run with labels=.'a': .*\.\.\..*, not"):
        Simulator(Lookup((1.0,)), n_workers=3, directory=run.directory, continual=True)
