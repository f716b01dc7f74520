"""Examines data that is there: presence, size, digest, and whether a reader of its format can read it.

Beside what was known beforehand, a manifest says what was put there: the size and SHA-256 of every file, written when
the data was unpacked, so that damage is found in data whose authors publish no digests.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from zerowait.benchmarks.data.download import digest, wrong
from zerowait.benchmarks.data.sources import DataSet
from zerowait.suite.sharing.regular_files import LARGEST_JSON, read_regular_file

MANIFEST = ".zerowait.json"
"""The file, in a data set's folder, with the sizes and digests of what was put there."""


def problems(examined: DataSet) -> list[str]:
    """Return what is wrong with a data set, one line for each file, naming the file; empty when nothing is."""
    try:
        recorded = read_manifest(examined.home)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{examined.home / MANIFEST}: cannot be read: {error}"]
    sizes, digests = examined.sizes(), examined.digests()
    found = []
    for name in examined.files:
        path = examined.place / name
        size, sha256 = recorded.get(str(path.relative_to(examined.home)), (None, None))
        problem = _problem(path, sizes.get(name, size), digests.get(name, sha256))
        if problem is not None:
            found.append(f"{path}: {problem}")
    return found


def write_manifest(folder: Path, earlier: Path) -> None:
    """Write the manifest of a folder, which is about to become or to be merged into `earlier`."""
    entries: dict[str, Any] = {}
    if (earlier / MANIFEST).is_file():
        entries.update({name: list(entry) for name, entry in read_manifest(earlier).items()})
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        entries[str(path.relative_to(folder))] = [path.stat().st_size, digest(path)]
    (folder / MANIFEST).write_text(json.dumps({"files": entries}, indent=1), encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of what was put into a folder, by relative path; nothing when a person put it there."""
    try:
        text = read_regular_file(folder / MANIFEST, at_most=LARGEST_JSON)
    except FileNotFoundError:
        return {}
    return {str(name): (int(size), str(sha256)) for name, (size, sha256) in json.loads(text)["files"].items()}


def _problem(path: Path, size: int | None, sha256: str | None) -> str | None:
    try:
        if not path.is_file():
            return "is not there"
        problem = wrong(path, size, sha256)
        if problem is not None:
            return problem
        reader = next((read for suffix, read in _READERS.items() if path.name.endswith(suffix)), None)
        if reader is not None:
            reader(path)
    except Exception as error:  # noqa: BLE001 - every library has its own; whatever it is, the file cannot be read
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"cannot be read: {' '.join(str(reason).split())}"
    return None


def _read_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _read_gzip(path: Path) -> None:
    """Read to the checksum at the end; what is inside may be a pickle and is not opened."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, zlib.error) as error:
        raise ValueError(f"it is torn ({error})") from error


def _read_parquet(path: Path) -> None:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for n in range(file.num_row_groups):
            file.read_row_group(n)


def _read_hdf5(path: Path) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        names = iter(file)
        if next(names, None) is None:
            raise ValueError("it holds nothing")


def _read_onnx(path: Path) -> None:
    import onnxruntime

    onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


# By how a name ends; the first that fits.
_READERS = {
    ".json": _read_json,
    ".parquet.gzip": _read_parquet,
    ".parquet": _read_parquet,
    ".hdf5": _read_hdf5,
    ".onnx": _read_onnx,
    ".gz": _read_gzip,
}
