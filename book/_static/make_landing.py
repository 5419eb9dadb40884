"""Draw the landing page's figure: activity by layer, Kaiming's weights against Eq. 10.

The landing page calls `draw` in a cell; `python book/_static/make_landing.py` stores the picture
for the README.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from snnlib import init, meanfield, neurons
from snnlib.page import figures

DEPTH, WIDTH, RUNS, THRESHOLD = 100, 1000, 5, 1.0
TITLE = (
    "Fraction of neurons that spike in each of 100 layers of 1000 neurons at threshold 1. "
    "With the weights of Eq. 10 it stays near the predicted probability; "
    "with Kaiming's weights it falls to zero within a few layers."
)


def activity(method: str, *, seed: int = 0) -> Tensor:
    """Fraction of spiking neurons after each layer of freshly drawn networks: [runs, depth + 1]."""
    rows = []
    for run in range(RUNS):  # both methods see the same standard-normal draws
        generator = torch.Generator().manual_seed(seed + run)
        current = torch.randn(WIDTH, generator=generator)
        fractions = []
        for _ in range(DEPTH + 1):
            spikes = neurons.lif(current[None], leak=0.5, threshold=THRESHOLD).spikes[0]
            fractions.append(spikes.mean())
            if not spikes.any():  # silence stays silence
                break
            weight = torch.empty(WIDTH, WIDTH)
            if method == "micheli2024":
                init.micheli2024_(weight, threshold=THRESHOLD, generator=generator)
            else:
                torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            current = weight @ spikes
        fractions += [torch.zeros(())] * (DEPTH + 1 - len(fractions))
        rows.append(torch.stack(fractions))
    return torch.stack(rows)


def draw() -> Figure:
    """Return the figure."""
    figures.use_house_style()
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    layers = range(DEPTH + 1)
    for method, name, color in (
        ("micheli2024", "Eq. 10", "blue"),
        ("kaiming", "Kaiming", "vermilion"),
    ):
        color = figures.COLORS[color]
        figures.band(axes, layers, activity(method), label=name, color=color)
    predicted = meanfield.firing_probability(THRESHOLD)
    axes.axhline(predicted, label="$P(u > \\theta)$", **figures.PREDICTION)
    axes.set(xlabel="layer", ylabel="fraction of neurons that spike", xlim=(0, DEPTH))
    axes.set_ylim(bottom=0)
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return figure


if __name__ == "__main__":
    figures.save(draw(), Path(__file__).with_name("landing.svg"), title=TITLE)
