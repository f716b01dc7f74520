"""What the package index shows: the README, with links and images that lead to the repository, and its addresses.

In a clone they are relative, so that they work there, on the documentation site and in every fork. A release knows
where it is made: GitHub's workflows have the repository's name in the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2403.01888"


def absolute(text: str, repository: str, ref: str) -> str:
    """Return Markdown whose relative links lead to `repository` (such as owner/name) at a tag or branch."""
    text = re.sub(r"(!\[[^\]]*\])\((?!https?:)", rf"\1(https://raw.githubusercontent.com/{repository}/{ref}/", text)
    return re.sub(r"\]\((?!https?:|#)", rf"](https://github.com/{repository}/blob/{ref}/", text)


class CustomMetadataHook(MetadataHookInterface):
    """Fills in the fields `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the fields; without the name of a repository links stay as they are."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        urls = {"Paper": PAPER}
        if repository := os.environ.get("GITHUB_REPOSITORY"):
            ref = os.environ.get("GITHUB_REF_NAME", "main")
            text = absolute(text, repository, ref)
            owner, name = repository.split("/")
            home = f"https://github.com/{repository}"
            urls |= {
                "Documentation": f"https://{owner}.github.io/{name}/",
                "Source": home,
                "Changelog": f"{home}/blob/{ref}/CHANGELOG.md",
                "Issues": f"{home}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls
