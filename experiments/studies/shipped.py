"""How a study is named: by its file, by its output folder, or, if it comes with zerowait, by its name from anywhere."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1]
STUDY_COPY = "study.toml"
"""The study file, as a run leaves it in the output folder."""


def shipped_studies() -> dict[str, Path]:
    """Return the file of each study that comes with zerowait, by the name of the study."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def archive_folder(named: str | Path) -> Path:
    """Return the folder of an archive that is named by its path, or by its name if it comes with zerowait.

    What names no archive is returned as it is.
    """
    ours = _FOLDER / "archives" / Path(named).name
    is_ours = str(named) == ours.name and not Path(named).is_dir() and ours.is_dir()
    return ours.resolve() if is_ours else Path(named)


def study_file(named: str | Path) -> Path:
    """Return the file of a study that is named by its path, by its output folder, or by its name.

    A file or folder of that name in the current folder comes first. What names no study is returned as it is.
    """
    path = Path(named)
    try:
        if path.is_dir() and ((path / STUDY_COPY).is_file() or str(named) not in shipped_studies()):
            return path / STUDY_COPY
        return path if path.is_file() else shipped_studies().get(str(named), path)
    except OSError:  # no file can have such a name
        return path


def is_study(named: str | Path) -> bool:
    """Tell whether this names a study, where something else may be named too."""
    file = study_file(named)
    return file.suffix.lower() == ".toml" and (file == Path(named) or file.is_file())
