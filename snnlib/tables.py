"""Moved to `snnlib.page.tables`; this name goes with the next version."""

import warnings

from snnlib.page.tables import *  # noqa: F403

warnings.warn("snnlib.tables is snnlib.page.tables now", DeprecationWarning, stacklevel=2)
