"""The front page's moving picture shows what was simulated; the map names what rests on what."""

from __future__ import annotations

import base64
import doctest
import graphlib
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from snnlib import init, meanfield

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "book" / "_static")]

book_map = importlib.import_module("book_map")
living = importlib.import_module("living_layers")


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    return list(living.simulate(seed=7))


def test_each_layer_follows_the_law_of_the_spikes_below(frames: list[Any]) -> None:
    """Given K spikes, potentials are N(0, G K / n), so the next count is binomial.

    The squared deviations of the layers in units of their variance sum to a chi-square, whose
    standard error is sqrt(2 layers): at 300 layers and more, five of them are less than a half,
    while weights 10 % too large shift the rate of a layer by 1.5 of its deviations or more.
    """
    total, layers = 0.0, 0
    for frame in frames:
        count = frame.rates * living.WIDTH
        for below, here in zip(count[:-1].tolist(), count[1:].tolist(), strict=True):
            if below == 0:
                assert here == 0
                continue
            variance = frame.gain * below / living.WIDTH
            p = float(meanfield.firing_probability(living.THRESHOLD, variance))
            total += (here - living.WIDTH * p) ** 2 / (living.WIDTH * p * (1 - p))
            layers += 1
    assert layers > 300
    assert abs(total - layers) < 5 * (2 * layers) ** 0.5


def test_the_gains_are_those_of_the_methods(frames: list[Any]) -> None:
    by_name = {frame.name: frame for frame in frames if frame.name}
    assert by_name["Kaiming"].gain == init.gain("kaiming")
    assert by_name["Eq. 10"].gain == init.gain("micheli2024", threshold=living.THRESHOLD)
    assert [f.gain for f in frames] == sorted(f.gain for f in frames)
    assert by_name["Kaiming"].dies is not None and "silent" in by_name["Kaiming"].says
    assert by_name["Eq. 10"].dies is None and "%" in by_name["Eq. 10"].says


def test_the_page_holds_every_spike(frames: list[Any]) -> None:
    html = living.html(frames)
    (stored,) = re.findall(r"const frames = (\[.*?\]), shown", html)
    for frame, kept in zip(frames, json.loads(stored), strict=True):
        data = base64.b64decode(kept["bits"])
        bits = [data[k >> 3] >> (7 - k % 8) & 1 for k in range(frame.spikes.numel())]  # as script
        assert torch.equal(torch.tensor(bits).view_as(frame.spikes).bool(), frame.spikes)
        assert kept["says"] == frame.says
    start = next(frame for frame in frames if frame.name == "Eq. 10")
    usual = next(frame for frame in frames if frame.name == "Kaiming")
    above, below = re.findall(r'class="spikes" d="([^"]*)"', html)  # dead above, alive below
    assert above.count("M") == int(usual.spikes[:, : living.FEW].sum())
    assert below.count("M") == int(start.spikes.sum()) > 0
    assert html.index(usual.says) < html.index(start.says)
    assert len(html) < 60_000


def test_the_map_says_what_rests_on_what() -> None:
    """Chapters rest on earlier ones; looking ahead is the exception, and said as such."""
    from snnlib.ledger import read_claims

    failed, tried = doctest.testmod(book_map)
    assert tried > 0 and failed == 0
    claims = read_claims(ROOT / "book" / "claims", parse=False).claims
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    order = [one.slug for part in book_map.parts(toc, ROOT).values() for one in part]
    uses = book_map.foundations(claims, order)
    assert list(uses) == order
    pairs = {
        (claim.chapter, claims[name].chapter)
        for claim in claims.values()
        for name in claim.uses
        if name in claims and claims[name].chapter != claim.chapter
    }
    assert pairs == {(name, one) for name, found in uses.items() for part in found for one in part}
    list(graphlib.TopologicalSorter({n: found.before for n, found in uses.items()}).static_order())
    assert not uses[order[0]].before
    assert sum(len(found.behind) for found in uses.values()) < len(pairs) / 5


def test_every_headline_has_a_verdict_and_a_chapter() -> None:
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("* {verdict}")]
    assert len(lines) == 5
    assert all("{doc}`" in line for line in lines)
