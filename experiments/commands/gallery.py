"""The gallery of the documentation, made of a study.

    python -m zerowait.experiments.commands.gallery STUDY [FOLDER]

writes `README.md` and the pictures into `docs/gallery`, or another folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerowait.experiments.commands.plot import STUDY_HELP, study_folder
from zerowait.experiments.studies.output import print_out


def main(
    study: Annotated[Path, typer.Argument(help=STUDY_HELP)],
    folder: Annotated[Path, typer.Argument(help="Where the gallery goes.")] = Path("docs/gallery"),
) -> None:
    """Write the gallery of a study."""
    from zerowait.plots.gallery import write_gallery

    for path in write_gallery(study_folder(study), folder):
        print_out(path)


if __name__ == "__main__":
    typer.run(main)
