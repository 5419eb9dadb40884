"""A plan in view of what lies around its weight: sums, poolings, products and normalizations.

A method counts with spikes of one layer as they are. Where the graph of the example shows
something else, the gain is that of what really reaches the weight: G is divided by the ratio of
its E[x²] to the one that the method assumes. E[x²] follows from the graph where all its operations
are known, is measured on the example where they are not, and the report says which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snnlib.init.connection import Connection, Layer
from snnlib.init.flow import Moments, at_one_step
from snnlib.init.method import Feeding
from snnlib.init.plan import Plan

__all__ = ["behind", "followed"]

EFFECTS = {
    "max pooling": "max pooling of its currents shifts their mean",
    "average pooling": "average pooling of its currents makes them smaller",
    "product": "its currents are multiplied with other values",
    "matrix product": "its currents are multiplied with other values (attention)",
    "dropout": "dropout of its currents makes them vary more",
    "function": "a function of its currents",
    "many operations": "many operations on its currents",
}


def followed(plan: Plan, norms: str = "keep") -> Plan:
    """The plan, with the gain of what reaches its weight and remarks on what lies behind it.

    Args:
        plan: Of one weight.
        norms: "scale" if the normalizations will be given the scale that the method wants.

    Returns:
        The same plan, or one with another gain and remark.
    """
    if plan.method is None:
        return plan
    moment, remark = None, ""
    feeding = plan.method.feeding(plan.connection, plan.settings)
    if feeding is not None and plan.gain is not None and plan.mean == 0:
        moment, remark = _moment(plan.connection, feeding, norms)
    gain = plan.gain
    if moment is not None and feeding is not None and gain is not None:
        gain *= feeding.second_moment / moment
    said = "; ".join(
        text for text in (plan.remark, remark, *behind(plan.connection, norms)) if text
    )
    return replace(plan, gain=gain, remark=said, second_moment=moment)


def _moment(connection: Connection, feeding: Feeding, norms: str) -> tuple[float | None, str]:
    """E[x²] where it is not that of spikes of one layer as assumed, and where it is from."""
    flow, measured = connection.flow, connection.second_moment
    if flow is None or not connection.fed_by:
        return None, ""
    fixed = [layer.name for layer in connection.fed_by if _normed(layer)] if norms == "keep" else []
    if fixed and measured:
        return measured, (
            f"E[x²] measured on the example: a normalization sets the rate of {', '.join(fixed)}"
        )
    if flow.plain:
        return None, ""
    layers = {layer.module: layer for layer in connection.fed_by}
    probability = feeding.probability or 0.0

    def known(origin: Any) -> Moments | None:
        layer = layers.get(origin)
        if layer is None:
            return None
        height = layer.height
        mean, square = float(height.mean()), float(height.square().mean())
        return at_one_step(probability * mean, probability * square)

    if (found := flow.moments(known)) is not None and found[1].item() > 0:
        return found[1].item(), f"E[x²] of {flow.words()} follows from the graph"
    if measured:
        return measured, f"E[x²] of {flow.words()} measured on the example"
    return None, f"E[x²] of {flow.words()} does not follow and was 0 on the example: as of spikes"


def _normed(layer: Layer) -> bool:
    return layer.intake is not None and any(norm.undoes for norm in layer.intake.norms)


def behind(connection: Connection, norms: str = "keep") -> list[str]:
    """What lies between a weight and the layers that it drives, in sentences.

    Args:
        connection: The weight.
        norms: As for `followed`.

    Returns:
        None for a weight whose product is the current.
    """
    said = []
    undoing = [norm for norm in connection.norms if norm.undoes]
    if undoing:
        names = ", ".join(norm.name for norm in undoing)
        said.append(
            f"{names} gets the scale that the method wants"
            if norms == "scale"
            else f"{names} takes its scale away: the norm's own scale and shift count"
        )
    for layer in connection.drives:
        if layer.intake is None or layer.intake.flow is None:
            continue
        ways = [
            node.kind
            for origin in (connection.module, connection.parameter)
            for node in layer.intake.flow.way(origin)
        ]
        said += [EFFECTS[kind] for kind in ways if kind in EFFECTS]
        if layer.intake.others:
            names = ", ".join(layer.intake.others)
            said.append(f"{names} joins its currents without a weight")
    return list(dict.fromkeys(said))
