"""The experiments of the papers, at sizes that are stated.

"desk" is for two cores and at most 20 minutes an experiment, "paper" repeats the paper's protocol
where it is known, "long" is in between, and "smoke" takes seconds: it shows that everything works
and nothing else.
"""

from __future__ import annotations

from snnlib.experiments.protocol import Protocol
from snnlib.experiments.protocols import herranz2022, ikun2024, kook2026, micheli2024, ordinary

__all__ = ["PROTOCOLS"]

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        micheli2024.FIG8_FASHION,
        micheli2024.FIG8_DIGITS,
        micheli2024.FIG8_CNN,
        micheli2024.FIG8_CNN_FASHION,
        micheli2024.FIG8_NMNIST,
        micheli2024.FIG10,
        micheli2024.LEARNING_RATE,
        micheli2024.GAIN,
        micheli2024.SHARPNESS,
        micheli2024.EPSILON,
        micheli2024.WIDE,
        herranz2022.FIG2_NEURONS,
        herranz2022.FIG2_TASKS,
        herranz2022.FIG2_OWN_TASKS,
        herranz2022.FIG3,
        herranz2022.FIG3_RECTANGULAR,
        herranz2022.FIG4,
        herranz2022.FIG4_RECTANGULAR,
        herranz2022.FIG5,
        herranz2022.FIG5_SHD,
        ikun2024.IKUN_FASHION,
        kook2026.FROZEN_THRESHOLD,
        kook2026.MPINIT_TRSG,
        kook2026.MPINIT_TRSG_DVS,
        kook2026.LEARNED_LEAK,
        ordinary.TUNED,
        ordinary.SUITE,
        ordinary.RESCUED,
    )
}
"""Every experiment by name."""
