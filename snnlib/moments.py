"""Moved to `snnlib.ledger.moments`; this name goes with the next version."""

import warnings

from snnlib.ledger.moments import *  # noqa: F403

warnings.warn("snnlib.moments is snnlib.ledger.moments now", DeprecationWarning, stacklevel=2)
