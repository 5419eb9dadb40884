r"""Normalizations given the scale that a method wants for the currents.

A method draws weights so that their product has the second moment G·E[x²]; a normalization behind
them takes that away. Setting its scale to

    γ = √(Σ G E[x²])      over the weights whose products it normalizes,

and its shift to 0 gives the currents back the size that the method wants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from snnlib.init.activity import first_gain_squared
from snnlib.init.norms import Norm, set_scale_
from snnlib.init.plan import Plan

__all__ = ["check_choice", "check_norms", "scale_norms_"]


def check_choice(norms: str, example: object) -> None:
    """Refuse an unknown choice, and one that nothing can be found by.

    Raises:
        ValueError: If `norms` is unknown or "scale" has no example.
    """
    if norms not in ("keep", "scale"):
        raise ValueError(f"norms must be 'keep' or 'scale', got {norms!r}")
    if norms == "scale" and example is None:
        raise ValueError("norms='scale' needs example= (one batch), by which they are found")


def check_norms(plans: Sequence[Plan]) -> None:
    """Refuse what cannot be set, before anything is changed.

    Raises:
        ValueError: If a normalization has no scale.
    """
    for norm, _ in _groups(plans):
        names = {
            name
            for m in norm.module.modules()
            for name, p in m._parameters.items()
            if p is not None
        }
        if not norm.scale.numel() or not names & {"weight", "gain"}:
            raise ValueError(
                f"norms='scale': normalization {norm.name!r} has no scale of its own to set"
            )


def scale_norms_(plans: Sequence[Plan]) -> None:
    """Give every normalization behind drawn weights the scale that their method wants.

    Args:
        plans: What was drawn.
    """
    for norm, group in _groups(plans):
        set_scale_(norm, math.sqrt(sum(_square(plan) for plan in group)))


def _groups(plans: Sequence[Plan]) -> list[tuple[Norm, list[Plan]]]:
    found: dict[int, tuple[Norm, list[Plan]]] = {}
    for plan in plans:
        for norm in plan.connection.norms if plan.method is not None else ():
            if norm.undoes:
                found.setdefault(id(norm.module), (norm, []))[1].append(plan)
    return list(found.values())


def _square(plan: Plan) -> float:
    """Second moment of the currents that the method wants."""
    connection = plan.connection
    feeding = plan.method.feeding(connection, plan.settings) if plan.method is not None else None
    if plan.gain is None:  # scaled by data: unit variance in the potential
        return 1 / max(first_gain_squared(layer) for layer in connection.drives)
    measured = connection.second_moment
    moment = 1.0 if measured is None else measured
    if connection.fed_by and feeding is not None:
        moment = feeding.second_moment
    return plan.gain * (moment if plan.second_moment is None else plan.second_moment)
