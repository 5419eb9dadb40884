"""Moved to `snnlib.page.figures`; this name goes with the next version."""

import warnings

from snnlib.page.figures import *  # noqa: F403

warnings.warn("snnlib.figures is snnlib.page.figures now", DeprecationWarning, stacklevel=2)
