r"""Weight initialization of spiking networks: one number, one call, a report.

Every method here is described by one number, the gain G = n·E[w²], the square of what
`torch.nn.init.calculate_gain` returns. `gain(method, **settings)` computes it,
`initialize_(module, method)` draws the weights of a whole network: it pairs each weight with the
spiking layers around it (`pairing`), plans what happens to it (`planning`), draws it (`drawing`)
and reports (`report`).

A method is one file named after its paper (`micheli2024.py`); it defines a `METHOD`, and one line
in `registry` makes it available everywhere. `register(METHOD)` does so from outside the package.
"""

from snnlib.init import distributions, herranz2022, ikun2024, rossbroich2022, spikeinit2026
from snnlib.init.adam_rate import learning_rate
from snnlib.init.bellec2018 import bellec2018_
from snnlib.init.ding2022 import ding2022_
from snnlib.init.ikun2024 import ikun2024_
from snnlib.init.initialize import initialize_
from snnlib.init.lee2016 import lee2016_
from snnlib.init.method import Method
from snnlib.init.micheli2024 import micheli2024_
from snnlib.init.registry import METHODS, gain, register, settings_table, unregister
from snnlib.init.report import Report, Row
from snnlib.init.rossbroich2022 import rossbroich2022_
from snnlib.init.spikeinit2026 import spikeinit2026_
from snnlib.init.zenke2021 import zenke2021_

__all__ = [
    "METHODS",
    "Method",
    "Report",
    "Row",
    "bellec2018_",
    "ding2022_",
    "distributions",
    "gain",
    "herranz2022",
    "ikun2024",
    "ikun2024_",
    "initialize_",
    "learning_rate",
    "lee2016_",
    "micheli2024_",
    "register",
    "rossbroich2022",
    "rossbroich2022_",
    "settings_table",
    "spikeinit2026",
    "spikeinit2026_",
    "unregister",
    "zenke2021_",
]
