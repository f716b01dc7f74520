"""Environments are built once, by one, whole or not at all; what they install here are wheels made on the spot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from importlib.metadata import requires
from pathlib import Path

import psutil
import pytest

from zerowait.adapters.environments import environments
from zerowait.adapters.environments.environments import (
    EnvironmentFailedError,
    create,
    environment,
    existing,
    pins,
    remove,
    requirements,
)
from zerowait.suite.rules.errors import SpecificationError

ROOT = Path(__file__).resolve().parents[3]

# Creates the environment "tiny" of the folder in argv[1], in a process of its own.
CREATOR = """
import resource, sys
from pathlib import Path
from zerowait.adapters.environments import environments
environments.REQUIREMENTS = Path(sys.argv[1])
environments.LIBRARIES = {"tiny": "tiny-library"}
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
environments.create("tiny", lambda line: print(line, flush=True))
"""


def wheel(folder, version="1.0", padding=0):
    """Make a wheel of tiny-library, with a file of so many random bytes."""
    info = f"tiny_library-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"tiny_library-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny_library.py", f"VERSION = {version!r}\n")
        archive.writestr("tiny_library_data.bin", os.urandom(padding))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-library\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


class Tiny:
    """The environment "tiny" in a folder of its own, with what its requirements say."""

    def __init__(self, folder, monkeypatch):
        self.requirements, self.wheels, self.root = folder / "requirements", folder / "wheels", folder / "root"
        self.requirements.mkdir()
        wheel(self.wheels)
        self.require("tiny-library==1.0")
        monkeypatch.setattr(environments, "REQUIREMENTS", self.requirements)
        monkeypatch.setattr(environments, "LIBRARIES", {"tiny": "tiny-library"})
        monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(self.root))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(self.wheels))

    def require(self, *lines):
        (self.requirements / "tiny.txt").write_text("\n".join(["# a comment", *lines]) + "\n")

    def creator(self, *arguments):
        """Start a process that creates it."""
        return subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(self.requirements), *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def folders(self):
        return [path for path in self.root.iterdir() if path.is_dir()]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    return Tiny(tmp_path, monkeypatch)


def test_an_environment_is_built_once_and_has_what_its_file_says(tiny, monkeypatch, tmp_path):
    # What a Makefile constrains for its own installations must not reach the environment.
    (tmp_path / "constraints.txt").write_text("tiny-library==0.1\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = []
    made = create("tiny", said.append)
    assert made.exists
    assert made.folder.parent == tiny.root
    assert made.library == "tiny-library"
    assert made.versions() == {"tiny-library": "1.0"}
    version = subprocess.check_output(
        [made.interpreter, "-Ic", "import tiny_library as t; print(t.VERSION)"], text=True
    )
    assert version == "1.0\n"
    assert said == [f"tiny: installing 1 distributions in {made.folder}", "tiny: ready"]
    built = (made.folder / "environment.json").stat().st_mtime_ns
    assert create("tiny", said.append) == made
    assert said[2:] == [f"tiny: exists in {made.folder}"]
    assert (made.folder / "environment.json").stat().st_mtime_ns == built
    assert existing() == {made.folder: "tiny"}


def test_of_two_that_start_at_once_one_builds_and_the_other_waits(tiny):
    both = [tiny.creator(), tiny.creator()]
    outputs = sorted(process.communicate(timeout=300)[0].splitlines() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    folder = environment("tiny").folder
    assert outputs == [
        ["tiny: another process is at it; waiting", f"tiny: exists in {folder}"],
        [f"tiny: installing 1 distributions in {folder}", "tiny: ready"],
    ]


def test_a_requirement_that_cannot_be_installed_is_named_and_nothing_is_left(tiny):
    tiny.require("tiny-library==1.0", "no-such-library==7.0")
    wanted = environment("tiny")
    message = r"'tiny' cannot be built: pip install failed: .*no-such-library==7\.0"
    with pytest.raises(EnvironmentFailedError, match=message) as caught:
        create("tiny")
    assert str(wanted.log) in str(caught.value)
    assert "create it with `zerowait env create tiny`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "no-such-library==7.0" in wanted.log.read_text()
    assert tiny.folders() == []
    assert not wanted.exists


def test_a_full_disk_leaves_nothing_half_done(tiny):
    # A limit on the size of a file makes the kernel refuse to write, as a full disk does.
    tiny.require("tiny-library==2.0")
    wheel(tiny.wheels, "2.0", padding=8_000_000)
    creator = tiny.creator(6_000_000)
    _, errors = creator.communicate(timeout=300)
    assert creator.returncode != 0
    assert re.search(r"EnvironmentFailedError: .*pip install failed.*(File too large|No space)", errors)
    assert tiny.folders() == []
    create("tiny")
    assert environment("tiny").exists


def test_a_folder_that_cannot_be_written_is_one_line_with_the_remedy(tiny, monkeypatch):
    tiny.root.write_text("a file is in the way")
    message = r"cannot use the environments in .*ZEROWAIT_ENVIRONMENTS names another"
    with pytest.raises(EnvironmentFailedError, match=message) as caught:
        create("tiny")
    assert "\n" not in str(caught.value)


def wait_for_pip(creator):
    """Wait until a creator has started its installer."""
    deadline = time.monotonic() + 300
    while True:
        with contextlib.suppress(psutil.Error):
            if any("pip" in child.cmdline() for child in psutil.Process(creator.pid).children()):
                return
        assert creator.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_a_killed_creation_left_is_built_anew_after_its_last_process_has_ended(tiny):
    creator = tiny.creator()
    wanted = environment("tiny")
    wait_for_pip(creator)
    creator.kill()
    creator.communicate()
    assert wanted.folder.is_dir()
    assert not wanted.exists
    # The installer has outlived its parent, and holds the lock.
    said = []
    create("tiny", said.append)
    assert said[0] == "tiny: another process is at it; waiting"
    assert said[1].startswith("tiny: installing")
    assert wanted.versions()["tiny-library"] == "1.0"


def test_an_interrupted_creation_leaves_nothing(tiny):
    creator = tiny.creator()
    wait_for_pip(creator)
    creator.send_signal(signal.SIGINT)
    creator.communicate(timeout=300)
    assert creator.returncode != 0
    assert tiny.folders() == []


def test_without_a_pip_here_the_environment_gets_its_own(tiny, monkeypatch):
    monkeypatch.setattr("zerowait.adapters.environments.environments.find_spec", lambda name: None)
    assert "pip" in create("tiny").versions()


def fake(name):
    """Make what looks like an environment that is complete, without the seconds that a real one takes."""
    wanted = environment(name)
    (wanted.folder / "bin").mkdir(parents=True)
    wanted.interpreter.symlink_to(sys.executable)
    (wanted.folder / "environment.json").write_text(json.dumps({"versions": {"tiny-library": "1.0"}}))
    assert wanted.exists
    return wanted


def test_other_pins_are_another_environment(tiny):
    first = fake("tiny")
    tiny.require("tiny-library==2.0")
    second = environment("tiny")
    assert second.folder != first.folder
    assert not second.exists
    assert first.exists


@pytest.mark.usefixtures("tiny")
def test_an_environment_in_use_is_not_removed():
    wanted = fake("tiny")
    with wanted.in_use(), pytest.raises(EnvironmentFailedError, match="is in use by a run, or being built; try again"):
        remove("tiny")
    assert wanted.exists
    assert remove("tiny") == [wanted.folder]
    assert not wanted.folder.exists()
    assert remove("tiny") == []
    with pytest.raises(EnvironmentFailedError, match="create it with `zerowait env create tiny`"), wanted.in_use():
        pass


@pytest.mark.usefixtures("tiny")
def test_runs_may_use_an_environment_together():
    wanted = fake("tiny")
    inside = threading.Event()

    def use():
        with wanted.in_use():
            inside.set()

    with wanted.in_use():
        threading.Thread(target=use, daemon=True).start()
        assert inside.wait(300)


def test_removing_takes_every_version_and_what_was_left_half_done(tiny):
    first = fake("tiny")
    tiny.require("tiny-library==2.0")
    second = environment("tiny")
    second.folder.mkdir()
    (tiny.root / "notes").mkdir()
    assert remove("tiny") == sorted([first.folder, second.folder])
    assert tiny.folders() == [tiny.root / "notes"]


@pytest.mark.usefixtures("tiny")
def test_a_damaged_manifest_is_an_error_with_the_remedy():
    wanted = fake("tiny")
    (wanted.folder / "environment.json").write_text("{")
    with pytest.raises(EnvironmentFailedError, match=r"is damaged .*zerowait env remove tiny && zerowait env create"):
        wanted.versions()


@pytest.mark.usefixtures("tiny")
def test_an_environment_whose_python_is_gone_does_not_exist():
    wanted = fake("tiny")
    wanted.interpreter.unlink()
    wanted.interpreter.symlink_to("/no/such/python")
    assert not wanted.exists


def test_an_unknown_environment_is_refused_with_the_known_ones():
    for function in (create, remove, environment):
        with pytest.raises(SpecificationError, match="there is no environment 'dheb'; known are dehb, hebo"):
            function("dheb")


@pytest.mark.parametrize("name", environments.LIBRARIES)
def test_every_environment_pins_its_library_and_what_zerowait_needs(name):
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in requirements(name))
    pinned = pins(name)
    assert len(pinned) == len(requirements(name))
    assert environments.normalized(environments.LIBRARIES[name]) in pinned
    # What only the command line, studies, downloads and figures import need not be there.
    above = {
        "typer",
        "rich",
        "pydantic",
        "matplotlib",
        "jinja2",
        "scipy",
        "scikit-posthocs",
        "statsmodels",
        "requests",
        "moocore",
    }
    needed = {re.match(r"[\w.-]+", line)[0] for line in requires("zerowait") if "extra ==" not in line}
    assert {environments.normalized(distribution) for distribution in needed - above} <= pinned.keys()
