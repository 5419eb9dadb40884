"""Chang et al. 2024 (IKUN): initializations compared on 20,000 images of Fashion-MNIST."""

from __future__ import annotations

import math
from itertools import product

from snnlib.experiments.protocol import Labels, Protocol, Settings, Size

__all__ = ["IKUN_FASHION"]

METHODS: dict[str, Settings] = {
    # What their code draws: a normal law of gain 4/π for every layer (first of its two versions).
    "ikun code": {"method": "normal", "gain": 4 / math.pi},
    # Not their formula but the forward condition with the right moments, that is Eq. 10; the label
    # is that of the stored rows.
    "ikun2024": {"method": "ikun2024", "balance": "forward"},
    "glorot": {"method": "glorot", "distribution": "uniform"},
    "kaiming": {"method": "kaiming", "distribution": "uniform"},
    "normal 0.02": {"method": "normal", "std": 0.02},
    "lecun": {"method": "lecun"},
}
# Both learning rates are those of their code.
OPTIMIZERS: dict[str, Settings] = {
    "adam": {"optimizer": "adam", "learning_rate": 1e-3},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9},
}
TRAINING: Settings = {"steps": 4, "batch_size": 128, "loss": "rate_mse"}


def _sizes() -> dict[str, Size]:
    def at(data: Settings, epochs: int, **network: object) -> Settings:
        return {
            "data": data,
            "network": {"kind": "vgg", **network},
            "training": TRAINING | {"epochs": epochs},
        }

    fashion: Settings = {"name": "fashion_mnist", "train": 20000, "test": 10000, "pool": 1}
    digits: Settings = {"name": "digits", "train": 128, "test": 50, "pool": 1}
    return {
        "desk": Size(
            at(fashion | {"pool": 2, "test": 5000}, 2, channels=[16, 16], hidden=256),
            (0, 1, 2),
            "20,000 images of 14 by 14 pixels, 16 channels, 2 epochs; about 25 s of one core each. "
            "The learning rates of the authors' code.",
        ),
        "paper": Size(
            at(fashion, 64, channels=[128, 128], hidden=2048),
            (0, 1, 2),
            "The code's network and 64 epochs; its subset is another random one.",
        ),
        "smoke": Size(
            at(digits, 1, channels=[4, 4], hidden=16), (0,), "Seconds; resolves nothing."
        ),
    }


def _apply(settings: Settings, labels: Labels) -> None:
    settings["network"]["init"] = METHODS[labels["initialization"]]
    settings["training"] |= OPTIMIZERS[labels["optimizer"]]


IKUN_FASHION = Protocol(
    name="ikun-fashion",
    question="Does IKUN's initialization train faster than those it was compared with?",
    source="Chang et al. 2024, comparison on Fashion-MNIST (by their code)",
    labels=("optimizer", "initialization"),
    conditions=[
        {"optimizer": optimizer, "initialization": method}
        for optimizer, method in product(OPTIMIZERS, METHODS)
    ],
    apply=_apply,
    sizes=_sizes(),
    x="epoch",
    series="initialization",
    panels="optimizer",
)
