"""The front page's moving picture: spikes on their way through a hundred layers, gain by gain.

Every frame is one run of the same drawn network, its weights scaled to another gain.  Above stands
what Kaiming's gain makes of it, below the frame that the slider chooses, Eq. 10's at first.  The
spikes are stored in the page as bits, and a few lines of script draw them, so slider and play
button work without a server.
"""

from __future__ import annotations

import base64
import json
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib import init, meanfield, neurons

DEPTH, WIDTH, THRESHOLD = 100, 1000, 1.0
SHOWN = 60
"""Neurons of each layer that the picture shows."""
FEW = 20
"""Neurons that the picture of Kaiming's weights shows."""
CELL = 6
"""Width of a layer and height of a neuron, in units of the picture."""
SCALES = (0.6, 0.8, 0.9, 0.95, 1.0, 1.2, 1.6)
"""Gains beside Kaiming's, in units of the gain of Eq. 10."""


class Frame(NamedTuple):
    """One run: its gain, which neurons spike in each layer, and the rate of each layer."""

    gain: float
    name: str
    spikes: Tensor
    rates: Tensor

    @property
    def dies(self) -> int | None:
        """First layer without a spike."""
        silent = (self.rates == 0).nonzero()
        return int(silent[0, 0]) if len(silent) else None

    @property
    def says(self) -> str:
        """What happens, in words."""
        if self.dies is not None:
            return f"silent from layer {self.dies} on"
        last = float(self.rates[-20:].mean())
        return f"{100 * last:.0f} % of the neurons spike in the last layers"


def simulate(*, seed: int = 0) -> list[Frame]:
    """Run one drawn network at every gain: one step, spikes through all layers."""
    eq10 = init.gain("micheli2024", threshold=THRESHOLD)
    kaiming = init.gain("kaiming")
    gains = sorted([kaiming, *(scale * eq10 for scale in SCALES)])
    scale = torch.tensor(gains).div(WIDTH).sqrt()
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(WIDTH, 1, generator=generator).expand(WIDTH, len(gains))
    layers = []
    for _ in range(DEPTH + 1):  # all gains see the same standard-normal draws
        spikes = neurons.lif(current[None], leak=0.5, threshold=THRESHOLD).spikes[0]
        layers.append(spikes)
        current = torch.randn(WIDTH, WIDTH, generator=generator) @ spikes * scale
    run = torch.stack(layers)  # [layer, neuron, gain]
    names = {kaiming: "Kaiming", eq10: "Eq. 10"}
    return [
        Frame(gain, names.get(gain, ""), run[:, :SHOWN, i] > 0, run[:, :, i].mean(1))
        for i, gain in enumerate(gains)
    ]


def packed(spikes: Tensor) -> str:
    """Spikes as bits, layer by layer, neuron by neuron, in base64."""
    bits = spikes.flatten().to(torch.uint8).tolist()
    text = "".join(map(str, bits)) + "0" * (-len(bits) % 8)
    return base64.b64encode(int(text, 2).to_bytes(len(text) // 8, "big")).decode()


def path(spikes: Tensor) -> str:
    """The spikes as the path of an SVG: one short stroke each."""
    return "".join(
        f"M{CELL * layer} {CELL * neuron + CELL // 2}h{CELL - 1}"
        for layer, neuron in spikes.nonzero().tolist()
    )


_SCRIPT = """
(() => {
  const frames = %(frames)s, shown = %(shown)d, depth = %(depth)d, cell = %(cell)d;
  const root = document.getElementById("living-layers");
  const strokes = root.querySelector(".living-moves path"), range = root.querySelector("input");
  const output = root.querySelector("output"), button = root.querySelector("button");
  const image = strokes.closest("svg");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0, paused = false;
  const columns = frames.map(frame => {
    const bytes = Uint8Array.from(atob(frame.bits), c => c.charCodeAt(0));
    return Array.from({ length: depth + 1 }, (_, layer) => {
      let d = "";
      for (let n = 0; n < shown; n++) {
        const k = layer * shown + n;
        if (bytes[k >> 3] >> (7 - k %% 8) & 1)
          d += `M${cell * layer} ${cell * n + cell / 2}h${cell - 1}`;
      }
      return d;
    });
  });
  const draw = upTo => {
    const frame = frames[range.value];
    strokes.setAttribute("d", columns[range.value].slice(0, upTo + 1).join(""));
    output.textContent = `${frame.label}: ${frame.says}`;
    range.setAttribute("aria-valuetext", output.textContent);
    image.setAttribute("aria-label", `${frame.about} ${output.textContent}.`);
  };
  const stop = () => { clearTimeout(timer); timer = 0; button.textContent = "▶ play"; };
  const play = layer => {
    draw(layer);
    if (layer < depth) timer = setTimeout(play, 30, layer + (still.matches ? depth : 2));
    else if (+range.value < frames.length - 1)
      timer = setTimeout(() => { range.value = +range.value + 1; play(0); }, 1200);
    else { stop(); paused = false; }
  };
  range.addEventListener("input", () => { stop(); paused = false; draw(depth); });
  button.addEventListener("click", () => {
    if (timer) { stop(); paused = true; draw(depth); return; }
    if (!paused) range.value = 0;
    button.textContent = "❚❚ pause";
    play(0);
  });
  range.disabled = button.disabled = false;
  draw(depth);
})();
"""


def label(frame: Frame) -> str:
    """A frame's gain in words."""
    return f"gain {frame.gain:.1f}" + (f", {frame.name}" if frame.name else "")


def picture(kind: str, spikes: Tensor, about: str) -> str:
    """The spikes of some neurons in all layers as an SVG."""
    depth, shown = spikes.shape
    return (
        f'<svg class="{kind}" viewBox="0 0 {CELL * depth} {CELL * shown}" role="img" '
        f'preserveAspectRatio="none" aria-label="{escape(about, quote=True)}">'
        f'<path class="spikes" d="{path(spikes)}"/></svg>\n'
    )


def html(frames: list[Frame]) -> str:
    """Both pictures, slider and button; without a script the lower one shows the gain of Eq. 10."""
    predicted = meanfield.firing_probability(THRESHOLD)

    def about(shown: int) -> str:
        return (
            f"{shown} of {WIDTH} neurons in each of {DEPTH} layers, from left to right; "
            "a dot is a spike."
        )

    data = [
        {"bits": packed(f.spikes), "label": label(f), "says": f.says, "about": about(SHOWN)}
        for f in frames
    ]
    start = next(i for i, f in enumerate(frames) if f.name == "Eq. 10")
    usual = next(f for f in frames if f.name == "Kaiming")
    script = _SCRIPT % {
        "frames": json.dumps(data, separators=(",", ":")),
        "shown": SHOWN,
        "depth": DEPTH,
        "cell": CELL,
    }
    dead = f"{label(usual)}: {usual.says}"
    said = f"{label(frames[start])}: {frames[start].says}"
    return (
        '<figure class="living-layers" id="living-layers">\n'
        f'<p class="living-says">{escape(dead)}</p>\n'
        + picture("living-usual", usual.spikes[:, :FEW], f"{about(FEW)} {dead}.")
        + f'<output class="living-says" for="living-range">{escape(said)}</output>\n'
        + picture("living-moves", frames[start].spikes, f"{about(SHOWN)} {said}.")
        + '<div class="living-control"><button type="button" disabled>▶ play</button>\n'
        '<label for="living-range">weights</label>\n'
        f'<input type="range" id="living-range" min="0" max="{len(frames) - 1}" step="1" '
        f'value="{start}" aria-valuetext="{escape(said, quote=True)}" disabled></div>\n'
        "<figcaption>Input on the left, each dot a spike. "
        'Weights of <a href="../notebooks/weight-variance.html">Eq. 10</a> have the variance '
        "\\(1/(n\\,P(u>\\theta))\\), Kaiming’s \\(2/n\\).\n"
        f"<details><summary>What is drawn</summary>{FEW} and {SHOWN} of {WIDTH} neurons in each "
        f"of {DEPTH} layers at threshold {THRESHOLD:g}; one network simulated at {len(frames)} "
        "sizes of its weights. The gain is \\(G=n\\,\\operatorname{Var}[w]\\); "
        "\\(P(u>\\theta)\\) is the probability that a neuron fires, and Eq. 10 predicts "
        f"{100 * predicted:.0f} % of spikes in every layer.</details></figcaption>"
        f"<script>{script}</script></figure>"
    )


def show() -> Any:
    """Simulate, and return what a notebook displays."""
    from IPython.display import HTML

    return HTML(html(simulate()))
