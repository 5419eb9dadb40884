"""Herranz-Celotti & Rouat 2022, Figs. 2 to 5: surrogate gradients in recurrent spiking networks.

Their SHD, spike-latency MNIST and PennTreeBank are replaced by tasks that two cores can train:
digits as spike latencies (the paper's code of sl-MNIST), random manifolds, and MNIST-1D.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from snnlib.experiments.protocol import Labels, Protocol, Settings, Size

__all__ = [
    "FIG2_NEURONS",
    "FIG2_OWN_TASKS",
    "FIG2_TASKS",
    "FIG3",
    "FIG3_RECTANGULAR",
    "FIG4",
    "FIG4_RECTANGULAR",
    "FIG5",
    "FIG5_SHD",
]

TASKS: dict[str, Settings] = {
    "latency": {"name": "digits", "standardize": False, "train": 1442, "test": 355},
    "randman": {
        "name": "randman", "units": 50, "steps": 50, "samples": 200, "train": 1500, "test": 400,
    },
    "mnist1d": {"name": "mnist1d", "train": 1500, "test": 1000},
}  # fmt: skip
PAPER_TASKS: dict[str, Settings] = {
    "latency": {"name": "mnist", "standardize": False, "train": 10000, "test": 2000},
    "shd": {"name": "shd", "steps": 100, "train": 8156, "test": 2264},
    # The word streams of Penn Treebank, which everybody has to get: these two files, here.
    "words": {
        "name": "text",
        "prepared": True,
        "steps": 35,
        "train": 26500,
        "test": 2300,
        "files": "ptb.train.txt",
        "test_files": "ptb.test.txt",
    },
}
PAPER_WIDTHS = {"latency": 128, "shd": 256, "words": 300}
HELD_OUT, PAPER_HELD_OUT = {"held_out": 200}, 1000

NETWORK: Settings = {
    "kind": "recurrent",
    "widths": [64, 64],
    "neuron": "lif",
    "leak": 0.95,
    "threshold": 1.0,
    "surrogate": {"shape": "exponential"},
}
# The paper's optimizer and loss; the averaging starts where it does not say: after three quarters.
TRAINING: Settings = {
    "steps": 50,
    "batch_size": 32,
    "optimizer": "adabelief",
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "averaging": "swa",
    "loss": "every_step",
    "accuracy": "mode",
    "encoding": "latency",
}
DESK_EPOCHS, PAPER_EPOCHS = 8, 100
DESK_NOTE = "About 1,300 samples, two layers of 64 neurons, {} epochs; {} of one core each. "
PAPER_NOTE = "The paper's networks and optimizer; its number of epochs is not reported, 100 here."
SHAPES = ("triangular", "exponential", "fast_sigmoid", "sigmoid", "gaussian", "rectangular")


def _sizes(
    cost: str, seeds: int, *, paper: str, resolves: str, epochs: int = DESK_EPOCHS
) -> dict[str, Size]:
    """Sizes of an experiment: `paper` is the task at paper size, `epochs` those at desk size."""

    def at(epochs: int, width: int, **data: Any) -> Settings:
        return {
            "data": data,
            "network": NETWORK | {"widths": [width, width]},
            "training": TRAINING | {"epochs": epochs},
        }

    small = TASKS["latency"] | {"train": 96, "test": 50, "held_out": 32}
    return {
        "desk": Size(
            at(epochs, 64, **TASKS["latency"], **HELD_OUT),
            tuple(range(seeds)),
            DESK_NOTE.format(epochs, cost) + resolves,
        ),
        "paper": Size(
            at(PAPER_EPOCHS, PAPER_WIDTHS[paper], **PAPER_TASKS[paper], held_out=PAPER_HELD_OUT),
            (0, 1, 2, 3),
            PAPER_NOTE,
        ),
        "smoke": Size(at(1, 64, **small), (0,), "Seconds; resolves nothing."),
    }


def _task(settings: Settings, name: str) -> None:
    """Another task of the same size."""
    mine, small = settings["data"], settings["data"]["train"] < 200
    data = dict(TASKS[name])
    if small:
        data |= {"train": mine["train"], "test": mine["test"]}
    settings["data"] = data | {"held_out": mine["held_out"]}


def _neurons(settings: Settings, labels: Labels) -> None:
    settings["network"]["neuron"] = labels["neuron"]
    settings["network"]["surrogate"] = {"shape": labels["shape"]}
    if labels["neuron"] == "slstm":  # at every size, for four gates have as many weights
        settings["network"]["widths"] = [64, 64]


FIG2_NEURONS = Protocol(
    name="fig2-neurons",
    question="Which shape of the surrogate trains which neuron?",
    source="Herranz-Celotti & Rouat 2022, Fig. 2, upper panel",
    labels=("neuron", "shape"),
    conditions=[
        {"neuron": neuron, "shape": shape}
        for neuron, shape in product(("lif", "alif", "slstm"), SHAPES)
    ],
    apply=_neurons,
    sizes=_sizes(
        "5 to 15 s", 3, paper="shd", resolves="Three seeds resolve large differences only."
    ),
    x="epoch",
    series="shape",
    panels="neuron",
)


def _shape_and_task(settings: Settings, labels: Labels) -> None:
    _task(settings, labels["task"])
    settings["network"]["surrogate"] = {"shape": labels["shape"]}


FIG2_TASKS = Protocol(
    name="fig2-tasks",
    question="Which shape of the surrogate trains which task?",
    source="Herranz-Celotti & Rouat 2022, Fig. 2, lower panel",
    labels=("task", "shape"),
    conditions=[{"task": task, "shape": shape} for task, shape in product(TASKS, SHAPES)],
    apply=_shape_and_task,
    sizes={
        name: size
        for name, size in _sizes(
            "5 s", 3, paper="latency", resolves="Three seeds resolve large differences only."
        ).items()
        if name != "paper"
    },
    x="epoch",
    series="shape",
    panels="task",
)


def _own_task(settings: Settings, labels: Labels) -> None:
    task = labels["task"]
    settings["data"] = PAPER_TASKS[task] | {"held_out": PAPER_HELD_OUT}
    settings["network"] |= {
        "widths": [PAPER_WIDTHS[task]] * 2,
        "surrogate": {"shape": labels["shape"]},
    }


FIG2_OWN_TASKS = Protocol(
    name="fig2-own-tasks",
    question="Which shape of the surrogate trains which of the paper's own tasks?",
    source="Herranz-Celotti & Rouat 2022, Fig. 2, lower panel",
    labels=("task", "shape"),
    conditions=[{"task": task, "shape": shape} for task, shape in product(PAPER_TASKS, SHAPES)],
    apply=_own_task,
    sizes={
        "paper": Size(
            {"network": NETWORK, "training": TRAINING | {"epochs": PAPER_EPOCHS}},
            (0, 1, 2, 3),
            PAPER_NOTE + " Its words are `ptb.train.txt` and `ptb.test.txt` in the working folder.",
        )
    },
    x="epoch",
    series="shape",
    panels="task",
)

FIG3_SHAPES = ("exponential", "fast_sigmoid", "triangular")


def _surrogate(settings: Settings, labels: Labels) -> None:
    settings["network"]["neuron"] = "alif"
    settings["network"]["surrogate"] = {
        "shape": labels["shape"],
        labels["parameter"]: labels["value"],
    }


FIG3 = Protocol(
    name="fig3-surrogate",
    question="How do dampening, sharpness and tail of the surrogate change the accuracy?",
    source="Herranz-Celotti & Rouat 2022, Fig. 3",
    labels=("parameter", "value", "shape"),
    conditions=[
        {"parameter": parameter, "value": value, "shape": shape}
        for parameter, values, shapes in (
            ("dampening", (0.1, 0.3, 0.8, 1.0, 1.5), FIG3_SHAPES),
            ("sharpness", (0.5, 1.0, 2.0, 5.0), FIG3_SHAPES),
            ("tail", (1.05, 1.5, 2.0, 5.0), ("q_pseudospike",)),
        )
        for value in values
        for shape in shapes
    ],
    apply=_surrogate,
    sizes=_sizes("7 s", 3, paper="latency", resolves="Three seeds resolve large differences only."),
    x="value",
    series="shape",
    panels="parameter",
)

FIG3_RECTANGULAR = Protocol(
    name="fig3-rectangular",
    question="Does the rectangular surrogate lose accuracy at higher dampenings?",
    source="Herranz-Celotti & Rouat 2022, section 3.2",
    labels=("parameter", "value", "shape"),
    conditions=[
        {"parameter": "dampening", "value": value, "shape": shape}
        for value in (0.3, 0.8, 1.0, 1.5)
        for shape in ("rectangular", *FIG3_SHAPES)
    ],
    apply=_surrogate,
    sizes={"paper": FIG3.sizes["paper"]},
    x="value",
    series="shape",
)

LAWS = [
    *product(("glorot", "kaiming"), ("uniform", "normal", "bigamma")),
    ("orthogonal", "orthonormal"),
]


def _law(settings: Settings, labels: Labels) -> None:
    method, _, distribution = labels["initialization"].partition(" ")
    init: Settings = {"method": method}
    if distribution != "orthonormal":
        init["distribution"] = distribution
    settings["network"] |= {
        "neuron": "alif",
        "surrogate": {"shape": labels["shape"]},
        "init": init,
    }


FIG4 = Protocol(
    name="fig4-initialization",
    question="Does the best shape of the surrogate depend on the initialization?",
    source="Herranz-Celotti & Rouat 2022, Fig. 4",
    labels=("initialization", "shape"),
    conditions=[
        {"initialization": " ".join(law), "shape": shape}
        for law, shape in product(LAWS, ("exponential", "fast_sigmoid", "sigmoid", "triangular"))
    ],
    apply=_law,
    sizes=_sizes("7 s", 3, paper="shd", resolves="Three seeds resolve large differences only."),
    x="shape",
    series="initialization",
)

FIG4_RECTANGULAR = Protocol(
    name="fig4-rectangular",
    question="Does the rectangular surrogate gain from BiGamma weights?",
    source="Herranz-Celotti & Rouat 2022, section 3.3",
    labels=("initialization", "shape"),
    conditions=[
        {"initialization": f"{kind} {law}", "shape": "rectangular"}
        for kind, law in product(("glorot", "kaiming"), ("uniform", "normal", "bigamma"))
    ],
    apply=_law,
    sizes={"paper": FIG4.sizes["paper"]},
    x="initialization",
    series="shape",
)

# With Glorot's input weights a stack cannot meet III, nor IV at this leak: the second layer's input
# weights must be small. The variances are about a quarter of the least upper bound of the tasks;
# condition II bounds that of all four from below.
SMALL = {"layers": {"linear2": {"input_weight_variance": 2e-3}}}
SMALLER = {
    "latency": {"layers": {"linear2": {"input_weight_variance": 2e-4}}},
    "randman": {"layers": {"linear2": {"input_weight_variance": 5e-4}}},
    "mnist1d": {"layers": {"linear2": {"input_weight_variance": 5e-4}}},
    # feasible for 700 channels that spike with probability 0.005 to 0.03 a step, 256 neurons
    "shd": {"layers": {"linear2": {"input_weight_variance": 5e-5}}},
}
CONDITIONS = ("naive", "I", "II", "III", "IV", "I II III IV", "I stable", "low dampening")


def _conditions(settings: Settings, labels: Labels) -> None:
    _task(settings, labels["task"])
    _start(settings, labels)


def _start(settings: Settings, labels: Labels) -> None:
    chosen = labels["conditions"]
    if chosen == "naive":
        return
    if chosen == "low dampening":
        settings["network"]["surrogate"] = {"shape": "exponential", "dampening": 0.3}
        return
    init: Settings = {"method": "herranz2022", "example": True}
    init["conditions"] = chosen.removesuffix(" stable")
    if chosen == "I stable":
        init["input_weight_variance"] = "stable"
    elif chosen in ("III", "IV"):
        init |= SMALL
    elif chosen == "I II III IV":
        init |= SMALLER[labels.get("task", "shd")]
    settings["network"]["init"] = init


FIG5 = Protocol(
    name="fig5-conditions",
    question="Which of the conditions I to IV trains better than Glorot's weights?",
    source="Herranz-Celotti & Rouat 2022, Fig. 5",
    labels=("task", "conditions"),
    conditions=[
        {"task": task, "conditions": conditions} for task, conditions in product(TASKS, CONDITIONS)
    ],
    apply=_conditions,
    sizes={
        name: size
        for name, size in _sizes(
            "9 s", 4, paper="shd", resolves="Four seeds, as in the paper.", epochs=12
        ).items()
        if name != "paper"
    },
    x="task",
    series="conditions",
)

FIG5_SHD = Protocol(
    name="fig5-shd",
    question="Which of the conditions I to IV trains better on the Spiking Heidelberg Digits?",
    source="Herranz-Celotti & Rouat 2022, Fig. 5",
    labels=("conditions",),
    conditions=[{"conditions": conditions} for conditions in CONDITIONS],
    apply=_start,
    sizes={
        name: size
        for name, size in _sizes("", 4, paper="shd", resolves="").items()
        if name == "paper"
    },
    x="epoch",
    series="conditions",
)
