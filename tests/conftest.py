"""What every test shares: where real benchmark data lies, and a deadline for whatever could hang."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

if "ZEROWAIT_DATA" not in os.environ and _SHARED_DATA.is_dir():
    os.environ["ZEROWAIT_DATA"] = str(_SHARED_DATA)

# A shell starts what runs in the background with Ctrl-C ignored, and every process below inherits that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("ZEROWAIT_HYPOTHESIS", "default"))
