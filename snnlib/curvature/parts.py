"""Model, loss, parameters and batches, as curvlinops takes them."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from snnlib.data import Dataset
from snnlib.networks import constant
from snnlib.training.checks import check_data
from snnlib.training.losses import Loss, resolve

__all__ = ["assembled"]


class _OverTime(nn.Module):
    """Samples [batch, ...] to outputs, as curvlinops calls a model."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def forward(self, x: Tensor) -> Tensor:
        return self.network(constant(x, self.steps))


class _MeanLoss(nn.Module):
    """A loss of output and targets, with the attribute that curvlinops reads."""

    reduction = "mean"

    def __init__(self, function: Loss) -> None:
        super().__init__()
        self.function = function

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        return self.function(output, targets)


def assembled(
    network: nn.Module, data: Dataset, steps: int, loss: str | Loss, batch_size: int
) -> tuple[_OverTime, _MeanLoss, list[nn.Parameter], list[tuple[Tensor, Tensor]]]:
    """Model, loss, parameters and batches, checked, of a copy of the network."""
    function = resolve(loss)
    check_data("data", data)
    for name, number in (("steps", steps), ("batch_size", batch_size)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    model = _OverTime(copy.deepcopy(network).eval(), steps)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network must have at least one parameter that requires a gradient")
    dtype, device = parameters[0].dtype, parameters[0].device
    batches = [(x.to(device, dtype), y.to(device)) for x, y in data.batches(batch_size)]
    return model, _MeanLoss(function), parameters, batches
