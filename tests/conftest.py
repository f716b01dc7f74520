"""What every test shares: where real benchmark data lies, and a deadline for whatever could hang."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import hypothesis

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

if "ZEROWAIT_DATA" not in os.environ and _SHARED_DATA.is_dir():
    os.environ["ZEROWAIT_DATA"] = str(_SHARED_DATA)

# One cache of converted tables for the session, away from the user's own, and before any test is collected: whether
# data is here is asked then, and must be answered for the cache that the tests have.
if "ZEROWAIT_CACHE" not in os.environ:
    os.environ["ZEROWAIT_CACHE"] = tempfile.mkdtemp(prefix="zerowait-tests-cache-")
    atexit.register(shutil.rmtree, os.environ["ZEROWAIT_CACHE"], ignore_errors=True)

# A shell starts what runs in the background with Ctrl-C ignored, and every process below inherits that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("ZEROWAIT_HYPOTHESIS", "default"))
