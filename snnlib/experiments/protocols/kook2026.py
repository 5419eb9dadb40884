"""Kook et al. 2026: surrogate gradients at frozen thresholds, and MP-Init with TrSG."""

from __future__ import annotations

from itertools import product
from typing import Any

from snnlib.experiments.protocol import Labels, Protocol, Settings, Size

__all__ = ["FROZEN_THRESHOLD", "LEARNED_LEAK", "MPINIT_TRSG", "MPINIT_TRSG_DVS"]

FAMILIES = ("absolute", "relative", "threshold_robust")
THRESHOLDS = (0.1, 0.5, 1.0, 1.5, 2.0)

# Kook et al., by their published code: τ = 2 (the leak 1 - 1/τ and the factor 1/τ of the current),
# rectangular surrogate of width 1, the reset not detached, no hidden layer, and plain batch norm
# over time and batch, which does not follow the threshold (with tdBN it would be a unit).
NETWORK: Settings = {
    "width": 1 / 16,
    "hidden": 0,
    "threshold": 1.0,
    "leak": 0.5,
    "reset": "subtract_leak",
    "surrogate": {"shape": "rectangular"},
    "detach_reset": False,
    "threshold_gradient": "absolute",
    "learn_threshold": False,
    "learn_leak": False,
    "current_std": 1.0,
    "input_gain": 0.5,
    "mpinit": False,
}

# The learning rate was chosen among 0.02 and 0.1 by the training accuracy at threshold 1, seed 0,
# and is the same for all conditions.
DESK: Settings = {
    "data": {"name": "fashion_mnist", "train": 2000, "test": 2000, "pool": 4},
    "network": NETWORK,
    "training": {
        "epochs": 6,
        "steps": 4,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "loss": "mean_output",
    },
}

DESK_NOTE = "2,000 images of 7 by 7 pixels, 6 epochs; about 16 s of one core each. "

LONG: Settings = DESK | {
    "data": DESK["data"] | {"train": 4000},
    "training": DESK["training"] | {"epochs": 15},
}
LONG_NOTE = "4,000 images of 7 by 7 pixels, 15 epochs; about 80 s of one core each."

# The published rate and batch, and the paper's data, width and epochs.
PAPER: Settings = DESK | {
    "data": {"name": "cifar100", "train": 50000, "test": 10000, "pool": 1},
    "network": NETWORK | {"width": 1.0},
    "training": DESK["training"] | {"epochs": 200, "batch_size": 64, "learning_rate": 0.02},
}
PAPER_NOTE = "ResNet-19 on CIFAR-100, 200 epochs, as the paper's, without its augmentation."
DVS: Settings = PAPER | {
    "data": {"name": "dvs_cifar10", "train": 9000, "test": 1000, "steps": 10},
    "training": PAPER["training"] | {"steps": 10},
}

SMOKE: Settings = {
    "data": {"name": "digits", "train": 64, "test": 50, "pool": 2},
    "network": NETWORK | {"width": 1 / 64, "blocks": [1, 1], "channels": [128, 256]},
    "training": DESK["training"] | {"epochs": 1, "batch_size": 32},
}


def _frozen_threshold(settings: Settings, labels: Labels) -> None:
    settings["network"] |= labels
    if labels["threshold"] == 1.0:
        # u - 1 and u/1 - 1 are the same number, and so are 1·x and x: run once.
        settings["network"]["threshold_gradient"] = "absolute"


def _mpinit_trsg(settings: Settings, labels: Labels) -> None:
    network: dict[str, Any] = settings["network"]
    network["mpinit"] = labels["mpinit"]
    if labels["trsg"]:
        network["threshold_gradient"] = "threshold_robust"
        network["learn_threshold"] = True


FROZEN_THRESHOLD = Protocol(
    name="frozen-threshold",
    question="Which surrogate gradient trains at a threshold far from 1 that is not learned?",
    source="Kook et al. 2026, section 5 (frozen thresholds, soft and hard reset)",
    labels=("reset", "threshold", "threshold_gradient"),
    conditions=[
        {"reset": reset, "threshold": threshold, "threshold_gradient": family}
        for reset, threshold, family in product(("subtract_leak", "zero"), THRESHOLDS, FAMILIES)
    ],
    apply=_frozen_threshold,
    sizes={
        "desk": Size(
            DESK,
            (0, 1, 2),
            DESK_NOTE + "Seeds differ by 3 points and more, so means are known to 8; thresholds "
            "from 1.5 on hardly train in this time.",
        ),
        "long": Size(LONG, (0, 1, 2), LONG_NOTE),
        "paper": Size(PAPER, (0, 1, 2), PAPER_NOTE),
        "smoke": Size(SMOKE, (0, 1), "Seconds; resolves nothing."),
    },
    x="threshold",
    series="threshold_gradient",
    panels="reset",
)

MPINIT_TRSG = Protocol(
    name="mpinit-trsg",
    question="What do MP-Init and TrSG with learned thresholds add, alone and together?",
    source="Kook et al. 2026, ablation of MP-Init and TrSG",
    labels=("mpinit", "trsg"),
    conditions=[
        {"mpinit": mpinit, "trsg": trsg} for trsg, mpinit in product((False, True), repeat=2)
    ],
    apply=_mpinit_trsg,
    sizes={
        "desk": Size(
            DESK,
            (0, 1, 2, 3, 4, 5),
            DESK_NOTE + "Seeds differ by 3 points and more, so means are known to 4.",
        ),
        "long": Size(LONG, (0, 1, 2, 3, 4, 5), LONG_NOTE),
        "paper": Size(PAPER, (0, 1, 2), PAPER_NOTE),
        "smoke": Size(SMOKE, (0, 1), "Seconds; resolves nothing."),
    },
    x="mpinit",
    series="trsg",
)

MPINIT_TRSG_DVS = Protocol(
    name="mpinit-trsg-dvs",
    question="What do MP-Init and TrSG add on the recordings of an event camera?",
    source="Kook et al. 2026, ablation of MP-Init and TrSG, DVS-CIFAR10",
    labels=MPINIT_TRSG.labels,
    conditions=MPINIT_TRSG.conditions,
    apply=_mpinit_trsg,
    sizes={"paper": Size(DVS, (0, 1, 2), "ResNet-19 on DVS-CIFAR10, 64 by 64 pixels, 10 steps.")},
    x="mpinit",
    series="trsg",
)


def _learned_leak(settings: Settings, labels: Labels) -> None:
    network: dict[str, Any] = settings["network"]
    network |= {"learn_leak": labels["leak"], "learn_threshold": labels["threshold"]}
    if labels["threshold"]:
        network["threshold_gradient"] = "threshold_robust"


LEARNED_LEAK = Protocol(
    name="learned-leak",
    question="What does a leak that is learned add, without and with learned thresholds?",
    source="Kook et al. 2026, trainable parameters",
    labels=("leak", "threshold"),
    conditions=[
        {"leak": leak, "threshold": threshold}
        for threshold, leak in product((False, True), repeat=2)
    ],
    apply=_learned_leak,
    sizes={"paper": Size(PAPER, (0, 1, 2), PAPER_NOTE)},
    x="leak",
    series="threshold",
)
