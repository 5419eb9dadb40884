"""The book notices a wrong library: planted errors make a chapter's checks fail.

A mutant is code that runs in the chapter's kernel before its first cell and replaces a formula of
snnlib.  The library has no hooks for it.  Cells tagged `figure` are left out, since no check may
depend on them; so a control run of each chapter without a mutation must pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from snnlib import ledger
from tools import chapters

# G = n Var[w] of Micheli et al.'s Eq. 10 is one function, from which the weights are drawn.
GAIN = """
from importlib import import_module
from types import MappingProxyType

import snnlib.init

method = import_module("snnlib.init.micheli2024")
right = method.gain


def wrong(*, threshold=1.0, height=1.0, input_second_moment=None):
    given = dict(height=height, input_second_moment=input_second_moment)
    return {formula}


method.gain = wrong
method.METHOD = method.METHOD._replace(gain=wrong)
methods = dict(snnlib.init.METHODS) | {{"micheli2024": method.METHOD}}
snnlib.init.METHODS = MappingProxyType(methods)
assert wrong(threshold=1.0) != right(threshold=1.0)
"""

# The neuron of Eq. 13 whose potential no spike lowers.
NO_RESET = """
from importlib import import_module

rules = import_module("snnlib.neurons.lif").RULES
rules["subtract"] = rules["none"]
"""


class Mutant(NamedTuple):
    """A planted error, and the chapter that must notice it."""

    chapter: str
    prelude: str


MUTANTS = {
    "variance 1.05 / (n p)": Mutant(
        "weight-variance", GAIN.format(formula="1.05 * right(threshold=threshold, **given)")
    ),
    "variance 2 / n": Mutant(
        "weight-variance",
        GAIN.format(formula="2.0 if input_second_moment is None else right(**given)"),
    ),
    "p = P(u > 1.05 threshold)": Mutant(
        "weight-variance", GAIN.format(formula="right(threshold=1.05 * threshold, **given)")
    ),
    "no reset": Mutant("lif-neuron", NO_RESET),
}


def chapter(name: str) -> Path:
    return chapters.NOTEBOOKS / f"{name}.md"


@pytest.mark.mutant
@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_check_of_the_chapter_fails(mutant, record_property):
    failures = chapters.run_chapter(chapter(mutant.chapter), prelude=mutant.prelude).failures
    assert failures, f"{mutant.chapter} passes although the library is wrong"
    (failure,) = failures
    assert failure.name == "ClaimFailed", f"{failure}\n{failure.traceback}"
    claims = ledger.read_claims(chapters.CLAIMS, parse=False).claims
    assert failure.claim in claims, f"which claim is that? {failure.message}"
    assert claims[failure.claim].chapter == mutant.chapter
    record_property("claim", failure.claim)


@pytest.mark.mutant
@pytest.mark.parametrize("name", sorted({mutant.chapter for mutant in MUTANTS.values()}))
def test_control_without_a_mutation_passes(name):
    run = chapters.run_chapter(chapter(name), prelude="import snnlib.init, snnlib.neurons")
    assert not run.failures, "\n".join(f"{f}\n{f.traceback}" for f in run.failures)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_mutation_reaches_the_library(mutant, tmp_path):
    """A chapter of one check: passes as the library is, fails under its mutant."""
    check = {
        "weight-variance": (
            "import torch\n"
            "from snnlib import init\n"
            "torch.manual_seed(0)\n"
            "layers = [torch.nn.Linear(500, 400) for _ in range(2)]\n"
            "from snnlib.neurons import LIF\n"
            "model = torch.nn.Sequential(LIF(threshold=1.0), layers[0], LIF())\n"
            "init.initialize_(model, 'micheli2024')\n"
            "init.micheli2024_(layers[1].weight, 1.0)\n"
            "p = 0.15865525393145707\n"
            "variances = [500 * p * layer.weight.var().item() for layer in layers]\n"
            "values = [p * init.gain('micheli2024', threshold=1.0), *variances]\n"
            "for value in values:\n"
            "    if abs(value - 1) > 0.02:\n"  # standard error 0.003
            "        raise ClaimFailed(f'book.law: {value}')"
        ),
        "lif-neuron": (
            "import torch\n"
            "from snnlib.neurons import LIF, lif\n"
            "current = torch.full((2, 1, 1), 2.0)\n"
            "trace = lif(current, leak=0.5, threshold=1.0)\n"
            "module = LIF(threshold=1.0, leak=0.5).trace(current)\n"
            "for value in (trace.membrane[1].item(), module.membrane[1].item()):\n"
            "    if value != 2.0:\n"
            "        raise ClaimFailed(f'book.reset: {value}')"
        ),
    }[mutant.chapter]
    path = tmp_path / "tiny.md"
    path.write_text(
        "---\nkernelspec: {display_name: Python 3, language: python, name: python3}\n"
        "jupytext: {text_representation: {extension: .md, format_name: myst}}\n---\n\n"
        "```{code-cell} python3\nclass ClaimFailed(AssertionError):\n    pass\n```\n\n"
        f"```{{code-cell}} python3\n{check}\n```\n"
    )
    control = chapters.run_chapter(path)
    assert not control.failures, str(control.failures)
    (failure,) = chapters.run_chapter(path, prelude=mutant.prelude).failures
    assert failure.claim in ("book.law", "book.reset"), failure.traceback
