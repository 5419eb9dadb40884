"""What a diagnosis says beside its table: where predictions start, and why some are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from snnlib.init.connection import Connection, Layer
from snnlib.probe.capture import Entry
from snnlib.probe.constants import shared_constants
from snnlib.probe.driving import driving
from snnlib.probe.prediction import Predictions
from snnlib.probe.tally import Tally

__all__ = ["learned", "listed", "notes_on"]

MOST = 4  # names of equal layers that a note lists


def notes_on(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    expected: Predictions,
    tally: Tally,
) -> list[str]:
    """One note for each reason, however many layers it concerns.

    Args:
        entries: The layers in the order of execution.
        connections: What `pair` found.
        expected: The predictions.
        tally: What was measured.

    Returns:
        The notes.
    """
    return [
        *_normalized(connections, expected),
        *_measured(entries, connections, expected, tally),
        *_itself(expected),
        *_missing(expected),
        *_zero(entries),
        *_shared(entries),
        *_joined(connections),
    ]


def listed(names: Iterable[str]) -> str:
    """Names in a sentence; of many the first and the last ones.

    Example:
        >>> listed(["a", "b"]), listed("abcdefgh")
        ('a, b', 'a, b, c, ..., h (8)')
    """
    names = list(dict.fromkeys(names))
    if len(names) <= MOST + 1:
        return ", ".join(names)
    return f"{', '.join(names[: MOST - 1])}, ..., {names[-1]} ({len(names)})"


def learned(constants: Mapping[str, float]) -> list[str]:
    """Which learned constants inside of the layers get a gradient, and which get none.

    Example:
        >>> learned({"lif.beta": 0.3, "lif.threshold": 0.0})
        ['A gradient reaches lif.beta; none reaches lif.threshold']
    """
    if not constants:
        return []
    reached = [name for name, size in constants.items() if size > 0]
    missed = [name for name, size in constants.items() if not size > 0]
    some = f"A gradient reaches {listed(reached)}" if reached else ""
    none = f"{'none' if reached else 'No gradient'} reaches {listed(missed)}" if missed else ""
    return ["; ".join(text for text in (some, none) if text)]


def _normalized(connections: Sequence[Connection], expected: Predictions) -> list[str]:
    found = [(c, norm) for c in connections for norm in c.norms]
    notes = []
    undone = [(c, norm) for c, norm in found if norm.undoes]
    if undone:
        behind = [name for name, start in expected.started.items() if start == "norm"]
        take = "takes" if len({norm.name for _, norm in undone}) == 1 else "take"
        notes.append(
            f"{listed(n.name for _, n in undone)} {take} the scale of the weights "
            f"{listed(c.name for c, _ in undone)} away: what counts is the norm's own scale and "
            "shift, the threshold and the leak"
            + (f"; from these the rate is predicted in {listed(behind)}" if behind else "")
        )
    if fixed := [norm.name for _, norm in found if not norm.undoes]:
        notes.append(
            f"{listed(fixed)} is in evaluation mode: fixed factors, which keep the scale of the "
            "weights"
        )
    return notes


def _measured(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    expected: Predictions,
    tally: Tally,
) -> list[str]:
    """Layers that are predicted from their currents, by what lies between."""
    groups: dict[str, list[str]] = {}
    shifted = tally.shifted(entries)
    layers = _layers(connections)
    for entry in entries:
        if expected.started.get(entry.name) != "measured":
            continue
        layer, weights = layers.get(entry.name), driving(entry, connections)
        intake = None if layer is None else layer.intake
        before = [c.flow.words() for c in weights if c.flow is not None and not c.flow.plain]
        if intake is not None and intake.flow is not None and not intake.weighted_sum:
            why = f"{intake.flow.words() or 'values without a weight'} between weights and neurons"
        elif entry.name in shifted:
            why = "weights, biases or inputs with a mean"
        elif any(before):
            why = f"{before[0]} before their weights"
        else:
            why = "weights of uneven size, or values that depend on each other"
        groups.setdefault(why, []).append(entry.name)
    return [
        f"{listed(names)}: predicted from the mean and covariance of the measured currents ({why})"
        for why, names in groups.items()
    ]


def _itself(expected: Predictions) -> list[str]:
    """Layers whose own neurons are run, by the reason."""
    groups: dict[str, list[str]] = {}
    for name, why in expected.itself.items():
        groups.setdefault(why, []).append(name)
    return [
        f"{listed(names)}: predicted by running the neurons themselves on Gaussian currents, since "
        f"no formula knows them ({why})"
        for why, names in groups.items()
    ]


def _missing(expected: Predictions) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, why in expected.missing.items():
        if "data drive" not in why:
            groups.setdefault(why, []).append(name)
    return [f"No prediction for {listed(names)}: {why}" for why, names in groups.items()]


def _zero(entries: Sequence[Entry]) -> list[str]:
    names = [e.name for e in entries if bool((e.spiking.threshold == 0).all())]
    if not names:
        return []
    return [
        f"{listed(names)}: the threshold is 0, so a neuron fires on any positive potential, half "
        "of the time around a mean of 0"
    ]


def _shared(entries: Sequence[Entry]) -> list[str]:
    names = shared_constants(entries)
    if not names:
        return []
    return [f"{listed(names)}: constants are one per neuron or channel; the table shows their mean"]


def _joined(connections: Sequence[Connection]) -> list[str]:
    """Layers whose input is a sum of spikes or a product of them."""
    notes = []
    for name, layer in _layers(connections).items():
        intake = layer.intake
        if intake is None or intake.flow is None or not intake.others or intake.flow.plain:
            continue
        kinds = [node.kind for node in intake.flow.walk()]
        if "product" in kinds or "matrix product" in kinds:
            notes.append((name, "products of spikes, which no weight scales"))
        elif "sum" in kinds:
            notes.append((name, f"values of {listed(intake.others)} beside weighted sums"))
    groups: dict[str, list[str]] = {}
    for name, what in notes:
        groups.setdefault(what, []).append(name)
    return [f"{listed(names)}: the currents are {what}" for what, names in groups.items()]


def _layers(connections: Sequence[Connection]) -> dict[str, Layer]:
    return {layer.name: layer for c in connections for layer in (*c.fed_by, *c.drives)}
