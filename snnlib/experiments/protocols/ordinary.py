"""Which call helps the networks that people build? The suite of `snnlib.experiments.ordinary`."""

from __future__ import annotations

from itertools import product

from snnlib.experiments.ordinary import ORDINARY
from snnlib.experiments.protocol import Labels, Protocol, Settings, Size

__all__ = ["FIXED_ON", "HELD_OUT", "LEARNING_RATES", "METHODS", "SUITE"]

FIXED_ON = (
    "snnTorch convnet, fast sigmoid",
    "snnTorch MLP, loop inside",
    "SpikingJelly CSNN, batch norm",
    "Norse convnet",
    "ours, 10 layers",
)
"""The networks on which the rule of the recommendation was fixed."""

HELD_OUT = tuple(name for name in ORDINARY if name not in FIXED_ON)
"""The networks on which it is reported."""

METHODS: dict[str, Settings | None] = {
    "untouched": None,
    "recommended": {"method": None, "example": True, "readout": "keep"},
    "micheli2024": {"method": "micheli2024", "example": True, "readout": "draw"},
    "mean_field": {
        "method": "mean_field", "rate": 0.2, "steps": 6, "example": True, "readout": "keep",
    },
}  # fmt: skip
"""Calls of `initialize_`: none, the recommended one, Eq. 10 for every layer, and the mean field."""

LEARNING_RATES = (3e-3, 1e-2)
"""For every network and method the one with the best mean accuracy on held-out samples counts."""

DIGITS: Settings = {"name": "digits", "standardize": False, "train": 1442, "test": 355}
SMALL = DIGITS | {"train": 96, "test": 50, "held_out": 32}


def _apply(settings: Settings, labels: Labels) -> None:
    own = ORDINARY[labels["network"]]
    settings["network"] = {"kind": "ordinary", "name": labels["network"]}
    if METHODS[labels["method"]] is not None:
        settings["network"]["init"] = METHODS[labels["method"]]
    settings["training"] |= {
        "steps": own.steps,
        "encoding": own.encoding,
        "loss": own.loss,
        "learning_rate": labels["learning_rate"],
    }


def _at(data: Settings, epochs: int) -> Settings:
    return {"data": data, "training": {"batch_size": 32, "optimizer": "adam", "epochs": epochs}}


SUITE = Protocol(
    name="ordinary",
    question="Which initialization helps the networks that people build, or leaves them alone?",
    source="this book",
    labels=("network", "method", "learning_rate"),
    conditions=[
        {"network": network, "method": method, "learning_rate": rate}
        for network, method, rate in product(ORDINARY, METHODS, LEARNING_RATES)
    ],
    apply=_apply,
    sizes={
        "desk": Size(
            _at(DIGITS | {"held_out": 300}, 4),
            (0, 1, 2, 3, 4),
            "1,142 images for training, 300 to choose the learning rate by, 4 epochs of batches of "
            "32; 1 to 5 s of one core each. Needs snnTorch, SpikingJelly and Norse.",
        ),
        "smoke": Size(_at(SMALL, 1), (0,), "Seconds; resolves nothing."),
    },
    x="method",
    series="learning_rate",
    panels="network",
)
