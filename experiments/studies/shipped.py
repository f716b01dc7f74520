"""The studies that come with zerowait: they are named in the place of a file, from anywhere."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1]


def shipped_studies() -> dict[str, Path]:
    """Return the file of each study that comes with zerowait, by the name of the study."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def study_file(named: str | Path) -> Path:
    """Return the file of a study that is named by its path or, if it comes with zerowait, by its name.

    A file of that name in the current folder comes first; a folder is no study file.
    """
    path = Path(named)
    return path if path.is_file() else shipped_studies().get(str(named), path)
