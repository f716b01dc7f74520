"""The logger of zerowait: silent unless the user asks for it with `logging.getLogger("zerowait").setLevel(...)`."""

from __future__ import annotations

import logging

logger = logging.getLogger("zerowait")
logger.addHandler(logging.NullHandler())
