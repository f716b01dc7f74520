"""One cache of converted tables for the whole test session, away from the user's own."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ZEROWAIT_CACHE")
    os.environ["ZEROWAIT_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ZEROWAIT_CACHE"]
    else:
        os.environ["ZEROWAIT_CACHE"] = before
