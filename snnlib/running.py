"""Moved to `snnlib.dialects.running`; this name goes with the next version."""

import warnings

from snnlib.dialects.running import *  # noqa: F403

warnings.warn("snnlib.running is snnlib.dialects.running now", DeprecationWarning, stacklevel=2)
