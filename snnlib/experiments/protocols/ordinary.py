"""Which call helps the networks that people build? The suite of `snnlib.experiments.ordinary`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from snnlib.experiments.ordinary import ORDINARY
from snnlib.experiments.protocol import Labels, Protocol, Settings, Size
from snnlib.experiments.sick import SICK

__all__ = [
    "DEAD",
    "FIXED_ON",
    "HELD_OUT",
    "LEARNING_RATES",
    "METHODS",
    "REMEDIED",
    "RESCUED",
    "RESCUES",
    "RULE",
    "SUITE",
    "SYNAPTIC",
    "TUNED",
]

FIXED_ON = (
    "snnTorch convnet, fast sigmoid",
    "snnTorch convnet, atan",
    "snnTorch MLP, loop inside",
    "snnTorch RLeaky, membrane",
    "SpikingJelly CSNN, batch norm",
    "SpikingJelly SEW",
    "SpikingJelly MLP, 6 layers",
    "Norse convnet",
    "ours, 3 layers",
    "ours, 10 layers",
    "ours, 20 layers",
)
"""The networks on which the rule of the recommendation was fixed."""

HELD_OUT = (
    "snnTorch convnet, Synaptic",
    "snnTorch MLP, 5 layers",
    "SpikingJelly MLP, learned leak",
    "SpikingJelly SEW, 5 blocks",
    "SpikingJelly VGG, batch norm",
    "Norse MLP",
    "Norse recurrent cell",
    "ours, convnet",
    "ours, 14 layers, hard reset",
)
"""The networks on which it is reported: built when the rule stood, trained after that."""

RULE = {
    "epsilon": 1e-8, "learns": 0.1, "silent_layers": 2, "wide": 0.25, "rate": 0.1,
    "name": "micheli2024", "synaptic": "rossbroich2022",
}  # fmt: skip
"""The rule that was fixed, by the numbers of `snnlib.init.recommended`; another one asks for other
networks to be held out."""

DEAD = (
    "SpikingJelly MLP, 6 layers",
    "ours, 10 layers",
    "ours, 20 layers",
    "SpikingJelly MLP, learned leak",
    "ours, 14 layers, hard reset",
)
"""The networks that cannot learn untouched: no weight takes a tenth of Adam's full step."""

METHODS: dict[str, Settings | None] = {
    "untouched": None,
    "recommended": {"method": None, "example": True, "readout": "keep"},
    "micheli2024": {"method": "micheli2024", "example": True, "readout": "draw"},
    "mean_field": {
        "method": "mean_field", "rate": 0.3, "steps": 6, "example": True, "readout": "keep",
    },
    "remedy": {"method": "remedy"},
}  # fmt: skip
"""Calls: none, the recommended one, Eq. 10 for every layer, the mean field, and the first one that
`snnlib.probe.diagnose` names."""

REMEDIED = (
    "snnTorch convnet, fast sigmoid",
    "snnTorch convnet, atan",
    "SpikingJelly MLP, 6 layers",
    "Norse convnet",
    "ours, 3 layers",
    "ours, 10 layers",
    "ours, 20 layers",
    "snnTorch MLP, 5 layers",
    "SpikingJelly MLP, learned leak",
    "SpikingJelly VGG, batch norm",
    "Norse MLP",
    "ours, convnet",
    "ours, 14 layers, hard reset",
)
"""The networks of which a diagnosis names a call that changes weights."""

RESCUES: dict[str, Settings | None] = {
    "untouched": None,
    "recommended": METHODS["recommended"],
    "remedies": {"method": "remedies"},
}
"""Calls for networks that people could not train: none, the recommended one, and those that
`snnlib.probe.diagnose` names, one after the other."""

SYNAPTIC = ("Norse convnet", "snnTorch convnet, Synaptic", "Norse MLP", "Norse recurrent cell")
"""The networks with synaptic currents, for which the mean field has no gain."""

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


def _apply_sick(settings: Settings, labels: Labels) -> None:
    own = SICK[labels["network"]]
    settings["network"] = {"kind": "sick", "name": labels["network"]}
    if RESCUES[labels["method"]] is not None:
        settings["network"]["init"] = RESCUES[labels["method"]]
    settings["training"] |= {"steps": own.steps, "encoding": own.encoding, "loss": own.loss}


def _at(data: Settings, epochs: int) -> Settings:
    return {"data": data, "training": {"batch_size": 32, "optimizer": "adam", "epochs": epochs}}


def _protocol(name: str, networks: Sequence[str], seeds: int, question: str) -> Protocol:
    return Protocol(
        name=name,
        question=question,
        source="this book",
        labels=("network", "method", "learning_rate"),
        conditions=[
            {"network": network, "method": method, "learning_rate": rate}
            for network, method, rate in product(networks, METHODS, LEARNING_RATES)
            if _applies(method, network)
        ],
        apply=_apply,
        sizes={
            "desk": Size(
                _at(DIGITS | {"held_out": 300}, 4),
                tuple(range(seeds)),
                "1,142 images for training, 300 to choose the learning rate by, 4 epochs of "
                "batches of 32; 1 to 5 s of one core each. Needs snnTorch, SpikingJelly and Norse.",
            ),
            "smoke": Size(_at(SMALL, 1), (0,), "Seconds; resolves nothing."),
        },
        x="method",
        series="learning_rate",
        panels="network",
    )


def _applies(method: str, network: str) -> bool:
    """Whether a call exists for a network."""
    if method == "remedy":
        return network in REMEDIED
    return method != "mean_field" or network not in SYNAPTIC


SUITE = _protocol(
    "ordinary",
    HELD_OUT,
    5,
    "Does the recommended call help networks that it was not fixed on, or leave them alone?",
)

TUNED = _protocol(
    "ordinary-tuned",
    FIXED_ON,
    3,
    "On which networks was the rule of the recommended call fixed, and what does it do to them?",
)

UPDATES: Settings = {"batch_size": 32, "optimizer": "adam", "learning_rate": 3e-3}

RESCUED = Protocol(
    name="rescued",
    question="Do networks that people could not train learn after one call, or after a diagnosis?",
    source="this book",
    labels=("network", "method", "learning_rate"),
    conditions=[
        {"network": network, "method": method, "learning_rate": 3e-3}
        for network, method in product(SICK, RESCUES)
    ],
    apply=_apply_sick,
    sizes={
        "desk": Size(
            {
                "data": DIGITS | {"train": 1280},
                "training": UPDATES | {"epochs": 5},
            },
            (0, 1, 2),
            "200 updates of 32 images; 3 to 10 s of one core each. Needs snnTorch, SpikingJelly "
            "and Norse.",
        ),
        "smoke": Size(
            {
                "data": SMALL,
                "training": UPDATES | {"epochs": 1},
            },
            (0,),
            "Seconds; resolves nothing.",
        ),
    },
    x="method",
    series="learning_rate",
    panels="network",
)
