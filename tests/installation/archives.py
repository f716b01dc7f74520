"""Builds wheel, sdist and the wheel of the sdist, and uses each as somebody does who has nothing else.

make verify-archives        (minutes; the network; fresh environments in the temporary folder, removed again)

`test_archives.py` does the same with one environment that shares the libraries which are installed already.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fresh import ROOT, Environment, say

SHARED = ("suite", "benchmarks", "adapters", "experiments", "plots", "compat")
LARGEST_BASELINES = 10_000_000
LARGEST_WHEEL, LARGEST_SDIST = 1_500_000 + LARGEST_BASELINES, 3_000_000 + LARGEST_BASELINES
"""Bytes. Both have the archive of baselines, so that whoever installs zerowait can compare."""
STUDIES = ("paper", "paper-fair", "quickstart", "reference", "scaling")
PART = "random,hartmann6,P<=2,seed<1"
"""Of the study `quickstart`: two cells."""
RUN = """
from concurrent.futures import ThreadPoolExecutor
from zerowait import Evaluation, Overhead, Simulator

train = lambda config: Evaluation(config["x"] ** 2, 60 + config["x"])
with (
    Simulator(train, n_workers=4, max_evaluations=20, overhead=Overhead.none(), directory="run") as simulator,
    ThreadPoolExecutor(4) as pool,
):
    list(pool.map(simulator, ({"x": k} for k in range(20))))
"""
PUBLIC = """
import importlib.util, zerowait
assert set(zerowait.__all__) == set(dir(zerowait))
assert all(getattr(zerowait, name) is not None for name in zerowait.__all__)
print(zerowait.__version__)
"""


@dataclass(frozen=True)
class Archives:
    """What is published, and the wheel that pip makes of the sdist."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def build(folder: Path) -> Archives:
    """Build all three into a folder."""
    tools = Environment(folder / "tools")
    tools.share_libraries()
    tools.said(tools.python, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Python has it from 3.11.4 on, and the archive is our own.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder / "unpacked", **options)
    (unpacked,) = (folder / "unpacked").iterdir()
    tools.said(tools.python, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "of_sdist", cwd=unpacked)
    (wheel_of_sdist,) = (folder / "of_sdist").glob("*.whl")
    return Archives(wheel, sdist, wheel_of_sdist)


def check_contents(archives: Archives) -> None:
    """Check names and sizes: one top-level name, all that is shipped, and the same from the sdist."""
    with zipfile.ZipFile(archives.wheel) as wheel, zipfile.ZipFile(archives.wheel_of_sdist) as of_sdist:
        names = wheel.namelist()
        tops = {name.partition("/")[0] for name in names}
        assert tops == {"zerowait", f"zerowait-{version()}.dist-info"}, tops
        assert len(names) == len(set(names))
        contents, others = ({name: file.read(name) for name in file.namelist()} for file in (wheel, of_sdist))
        assert contents == others, sorted({*contents} ^ {*others}) or "same names, other bytes"
    needed = {"zerowait/py.typed", "zerowait/experiments/archives/baselines/cells.parquet"}
    needed |= {*(f"zerowait/experiments/{name}.toml" for name in STUDIES)}
    assert needed <= {*names}, needed - {*names}
    for name in SHARED:
        assert f"zerowait/{name}/__init__.py" in names, name
    with tarfile.open(archives.sdist) as sdist:
        assert {member.name.partition("/")[0] for member in sdist} == {f"zerowait-{version()}"}
        assert not [member.name for member in sdist if not (member.isfile() or member.isdir())]  # links
        assert not [member.name for member in sdist if member.name.split("/")[1] == "results"]
    assert archives.wheel.stat().st_size < LARGEST_WHEEL, archives.wheel.stat().st_size
    assert archives.sdist.stat().st_size < LARGEST_SDIST, archives.sdist.stat().st_size


def version() -> str:
    """Return the version that the source says."""
    text = (ROOT / "zerowait" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def check_uninstallation(environment: Environment, archive: Path) -> None:
    """Check that pip takes away what it brought, and nothing else; the archive is installed at the end."""
    foreign = environment.site / "adapters" / "__init__.py"  # as the distribution `adapters` has it
    foreign.parent.mkdir()
    foreign.write_text("")
    before = environment.files()
    environment.pip("install", "-q", "--no-deps", archive)
    brought = environment.files() - before
    of_package = f"{environment.site.relative_to(environment.folder)}/zerowait"
    assert {name for name in brought if not name.startswith(of_package)} == {"env/bin/zerowait"}
    environment.pip("uninstall", "-q", "-y", "zerowait")
    assert environment.files() == before
    foreign.unlink()
    foreign.parent.rmdir()
    environment.pip("install", "-q", "--no-deps", archive)


def use(environment: Environment) -> None:
    """Do there what a newcomer does."""
    zerowait = environment.python.with_name("zerowait")
    assert environment.said(environment.python, "-c", PUBLIC).strip() == version()
    assert environment.said(environment.python, "-m", "zerowait", "--version").strip() == f"zerowait {version()}"
    listed = environment.said(zerowait, "list")
    for name in ("random", "optuna-tpe", "branin", "hpobench"):
        assert name in listed, listed
    assert "2 of 2 cells are finished" in environment.said(zerowait, "run", "quickstart", "--only", PART, "-j", "1")
    environment.said(zerowait, "report", "quickstart")
    assert (environment.folder / "runs" / "quickstart" / "report.html").stat().st_size > 100_000
    environment.said(
        zerowait, "new-study", "--like", "baselines", "--optimizer", "random", "--where", "benchmark=branin,P<=4"
    )
    assert "2 of 2 cells are finished" in environment.said(
        zerowait, "run", "random.toml", "-j", "1", "--only", "seed<1"
    )
    said = environment.said(zerowait, "compare", "random.toml", "--where", "optimizer=random,dehb")
    compared = "compared: random beside dehb (baselines), random (baselines): 1 benchmark, 1, 4 workers, 1 seed\n"
    assert compared in said, said
    environment.said(environment.python, "-c", RUN)
    assert "20" in environment.said(zerowait, "check", "run")
    check_hand_computed(environment)
    check_examples(environment)


def check_hand_computed(environment: Environment) -> None:
    """Check what is computed; what is slept or measured meanwhile has other gates, which a busy machine may miss."""
    zerowait = environment.python.with_name("zerowait")
    environment.said("sh", "-c", f"{zerowait} verify hand-computed || test $? -eq 1")
    (written,) = (environment.folder / "verification").glob("hand-computed.json")
    gates = json.loads(written.read_text(encoding="utf-8"))["gates"]
    (modelled,) = (gate for gate in gates if gate["name"].startswith("modelled"))
    assert modelled["passed"], gates
    assert len(gates) > 1


def check_examples(environment: Environment) -> None:
    """Check README's examples, and the page's plug-in with the conformance kit."""
    page = (ROOT / "docs" / "add-your-optimizer.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", readme, re.DOTALL)
    assert len(examples) > 1
    example = environment.folder / "example.py"
    for source, printed in examples:
        example.write_text(source, encoding="utf-8")
        assert environment.said(environment.python, example) == printed
    test = environment.folder / "test_crossing.py"
    test.write_text(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], encoding="utf-8")
    said = environment.said(environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", test)
    assert " passed" in said, said


def main() -> int:
    """Use each archive in an environment of its own, with everything downloaded; return 1 when one of them fails."""
    # A time limit from outside ends it like an interrupt: the temporary folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="zerowait-archives-") as name:
        folder = Path(name)
        archives = build(folder)
        check_contents(archives)
        say(f"wheel {archives.wheel.stat().st_size:,} bytes, sdist {archives.sdist.stat().st_size:,} bytes")
        for what in ("wheel", "sdist", "wheel_of_sdist"):
            archive, began = getattr(archives, what), time.monotonic()
            environment = Environment(folder / f"for_{what}")
            check_uninstallation(environment, archive)
            environment.pip("install", "-q", f"{archive}[demo]", "pytest", "pytest-timeout")
            environment.pip("check")
            environment.pip("install", "-q", "--no-deps", "adapters")  # of PyPI, whose package was once called as ours
            use(environment)
            environment.pip("uninstall", "-q", "-y", "adapters")
            environment.said(environment.python, "-c", PUBLIC)
            say(f"{what}: installed, used and removed in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
