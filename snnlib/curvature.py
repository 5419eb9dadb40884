r"""Curvature of spiking networks: second derivatives, and what they are derivatives of.

A spiking network has no Hessian in the usual sense: its loss is constant between the jumps of its
spikes.  Three matrices go by that name.

* `hessian`: automatic differentiation applied twice, the surrogate derivative standing in for the
  derivative of the spike both times.  It is symmetric: near the present weights it is the Hessian
  of a smooth network that agrees with the spiking one at these weights, in which every spike x is
  replaced by x + σ(u - θ) - σ(u₀ - θ), with u₀ its present potential.
* `surrogate_jacobian`: the true derivative, between two jumps, of the field that training follows.
  It is not symmetric, because that field is the gradient of no loss (`asymmetry`).
* The Hessian of the network that is `smoothed`: a true one, of another network.

`loss_rise` needs no derivative: it measures how much the loss itself rises around the weights.

The operators are those of curvlinops (``pip install "snnlib[curvature]"``): matrices of size
[P, P] for P weights, known by their products with vectors and averaged over all images of the data.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import linalg
from torch import Tensor, nn

from snnlib import dialects
from snnlib._extras import require
from snnlib.data import Dataset
from snnlib.networks import constant
from snnlib.neurons.lif import LIF, RULES
from snnlib.surrogate import Surrogate
from snnlib.training.checks import check_data
from snnlib.training.losses import Loss, resolve

__all__ = [
    "Density",
    "Estimate",
    "asymmetry",
    "eigenvalues",
    "hessian",
    "loss_rise",
    "matrix",
    "root_mean_squares",
    "smoothed",
    "spectral_density",
    "surrogate_jacobian",
    "trace",
]

Array = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number estimated from random vectors.

    Attributes:
        value: The estimate.
        standard_error: Its standard error.
    """

    value: float
    standard_error: float


class Density(NamedTuple):
    """Spectral density, which integrates to 1.

    Attributes:
        grid: Eigenvalues, [points].
        density: Density there, [points].
    """

    grid: Array
    density: Array


# --- The matrices ---------------------------------------------------------------------------------


def hessian(
    network: nn.Module,
    data: Dataset,
    *,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 2000,
) -> Any:
    r"""The matrix that differentiating twice through the surrogate gives, over all samples.

    .. math:: H = \frac{1}{N}\sum_n \nabla_w^2\, \ell(x_n, y_n)

    where both derivatives of a spike are those of the surrogate's primitive σ: σ'(u - θ) and
    σ''(u - θ).  For a network without spikes it is the Hessian of the loss.

    Args:
        network: Currents [T, batch, features...] to outputs; a copy of it is kept, in evaluation
            mode.  Float64 weights give small eigenvalues more digits.
        data: The samples to average over.
        steps: Time steps T; each sample is a constant current.
        loss: A name in `snnlib.training.LOSSES` or a function of output and targets that averages
            over the batch.
        batch_size: Samples per pass; the result does not depend on it.

    Returns:
        A curvlinops operator of shape [P, P]; ``operator @ vectors`` multiplies.

    Raises:
        ValueError: If the data are empty or not finite, or the network has nothing to learn.
        ImportError: If curvlinops is missing.

    Source:
        Dangel et al. 2025 (curvlinops); for ``double backward`` of spikes the book's chapter.

    Example:
        Mean squares of a linear map w·x have the Hessian 2 E[x xᵀ], twice over for two outputs.

        >>> from snnlib.data import Dataset
        >>> x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
        >>> data = Dataset("two", "train", x, torch.tensor([0, 1]), 2)
        >>> def squares(output, targets):
        ...     return output.square().sum() / len(targets)
        >>> operator = hessian(nn.Linear(2, 2, bias=False), data, steps=1, loss=squares)
        >>> bool(np.allclose(matrix(operator), torch.kron(torch.eye(2), x.T @ x)))
        True
    """
    curvlinops = require("curvlinops", "curvature")

    class Hessian(curvlinops.HessianLinearOperator):  # type: ignore[name-defined]
        """Reverse over reverse mode: a recorded gradient serves many vectors."""

        _recorded: Any = None

        def _matmat_batch(self, x: Tensor, y: Tensor, vectors: list[Tensor]) -> list[Tensor]:
            gradient = self._recorded
            if gradient is None:
                with torch.enable_grad():
                    value = self._loss_func(self._model_func(x), y)
                    gradient = torch.autograd.grad(value, self._params, create_graph=True)
            if len(self._data) == 1:  # else the memory of all batches
                self._recorded = gradient
            products = [
                torch.autograd.grad(
                    gradient,
                    self._params,
                    [vector[..., column] for vector in vectors],
                    retain_graph=True,
                    materialize_grads=True,
                )
                for column in range(vectors[0].shape[-1])
            ]
            return [torch.stack(parts, -1) for parts in zip(*products, strict=True)]

    parts = _parts(network, data, steps, loss, batch_size)
    return Hessian(*parts, check_deterministic=False, num_data=len(data))


def surrogate_jacobian(
    network: nn.Module,
    data: Dataset,
    *,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 2000,
) -> Any:
    r"""The derivative of the surrogate field, between the jumps of the spikes.

    .. math:: J = \frac{\partial F}{\partial w}\Big|_{\text{spikes constant}}, \qquad
        F = \text{what backpropagation returns}

    Row i, column j: how component i of the field changes with weight j.  In a feed-forward network
    a weight can change the field of the layers above it only through their spikes, so those blocks
    are zero: J is block triangular and not symmetric.

    Args:
        network: As for `hessian`; its spiking layers must be `snnlib.neurons.LIF`.
        data: As for `hessian`.
        steps: As for `hessian`.
        loss: As for `hessian`.
        batch_size: As for `hessian`.

    Returns:
        A curvlinops operator of shape [P, P] that knows no transposed product.

    Raises:
        ValueError: As `hessian`; or if a layer spikes but is no `LIF`.
        ImportError: If curvlinops is missing.

    Source:
        The book's chapter on flat minima; that such a field has no potential: Gygax & Zenke 2025.

    Example:
        One neuron alone does have a potential: its matrix is symmetric.

        >>> from snnlib import data, networks
        >>> neuron = networks.mlp([64, 1], encode=False, generator=torch.Generator().manual_seed(0))
        >>> def rate(output, targets):
        ...     return output.mean()
        >>> found = matrix(surrogate_jacobian(neuron, data.load("digits"), loss=rate, steps=1))
        >>> np.allclose(found, found.T, atol=1e-6), bool(np.abs(found).max() > 1e-3)
        (True, True)
    """
    curvlinops = require("curvlinops", "curvature")

    class SurrogateJacobian(curvlinops.HessianLinearOperator):  # type: ignore[name-defined]
        SELF_ADJOINT = False

        def _adjoint(self) -> Any:
            raise NotImplementedError("the transposed product is not implemented")

    parts = _parts(_substituted(network, _held), data, steps, loss, batch_size)
    return SurrogateJacobian(*parts, check_deterministic=False, num_data=len(data))


def smoothed(network: nn.Module, *, sharpness: float | None = None) -> nn.Module:
    r"""A copy of a network whose spikes are smooth: the derivative becomes true.

    .. math:: x = \frac{s}{\gamma}\,\sigma(u - \theta) = \int_{-\infty}^{u-\theta} s f(s v)\,dv

    instead of a step: from 0 to 1 over a width 1/s.  As the sharpness s grows the copy approaches
    the spiking network, and its curvature grows without bound.

    Args:
        network: A network whose spiking layers are `snnlib.neurons.LIF`.
        sharpness: Sharpness s > 0 of all layers; None keeps each layer's own.

    Returns:
        A network with the same parameters (copied) without spikes.

    Raises:
        ValueError: If the sharpness is not positive, or a layer spikes but is no `LIF`.

    Source:
        Herranz-Celotti & Rouat 2022, Table S1 (the shapes); Zenke & Vogels 2021 use the surrogate's
        primitive in the same way.

    Example:
        At the threshold half a spike is sent.

        >>> layer = smoothed(LIF(threshold=1.0, surrogate=Surrogate("sigmoid")))
        >>> layer(torch.ones(1, 1, 1)).item()
        0.5
    """
    if sharpness is not None and not 0 < sharpness < math.inf:
        raise ValueError(f"sharpness must be positive and finite, got {sharpness!r}")

    def smooth(v: Tensor, surrogate: Surrogate) -> Tensor:
        s = surrogate.sharpness if sharpness is None else float(sharpness)
        return Surrogate(surrogate.shape, s, s, surrogate.tail).primitive(v)

    return _substituted(network, smooth)


# --- What to know of a matrix ---------------------------------------------------------------------


def matrix(operator: Any) -> Array:
    """All entries of an operator, for small ones.

    Args:
        operator: A curvlinops operator of shape [P, P].

    Returns:
        The matrix, [P, P].

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> matrix(aslinearoperator(np.eye(2))).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _multiply(operator, np.eye(operator.shape[1]))


def eigenvalues(
    operator: Any,
    count: int = 10,
    *,
    which: str = "largest",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Array:
    """The extreme eigenvalues of a symmetric operator, by implicitly restarted Lanczos.

    Args:
        operator: A symmetric operator of shape [P, P], such as `hessian` returns.
        count: Number of eigenvalues, 1 <= count < P.
        which: `"largest"`, `"smallest"` (most negative) or `"magnitude"`.
        tolerance: Relative accuracy.
        seed: Seed of the start vector.

    Returns:
        The eigenvalues, [count], largest first.

    Raises:
        ValueError: If `count` or `which` is outside its range, or the operator is not symmetric by
            construction (`surrogate_jacobian`).

    Source:
        `scipy.sparse.linalg.eigsh` (ARPACK).

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> found = eigenvalues(aslinearoperator(np.diag([3.0, -5.0, 1.0, 0.0])), 2)
        >>> bool(np.allclose(found, [3.0, 1.0]))
        True
    """
    codes = {"largest": "LA", "smallest": "SA", "magnitude": "LM"}
    if which not in codes:
        raise ValueError(f"which must be one of {', '.join(codes)}, got {which!r}")
    size = operator.shape[0]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < size:
        raise ValueError(f"count must be an integer from 1 to {size - 1}, got {count!r}")
    if getattr(operator, "SELF_ADJOINT", True) is False:
        raise ValueError("operator must be symmetric, got one that is not: use matrix(operator)")
    product = linalg.LinearOperator(
        operator.shape, matvec=lambda v: _multiply(operator, v), dtype=np.float64
    )
    start = np.random.default_rng(seed).standard_normal(size)
    found = linalg.eigsh(
        product, count, which=codes[which], v0=start, tol=tolerance, return_eigenvectors=False
    )
    return np.sort(found)[::-1]


def trace(
    operator: Any, *, scale: npt.ArrayLike = 1.0, samples: int = 64, seed: int = 0
) -> Estimate:
    r"""Trace of an operator, by Hutchinson's estimator.

    .. math:: \operatorname{tr} S A S = E[z^\top S A S z], \qquad z_i = \pm 1

    With S = 1 it is the trace.  With the root mean squares of the parameter tensors
    (`root_mean_squares`) it does not depend on the unit of the weights, and ½ r² tr SAS is what a
    quadratic loss rises at the radius r of `loss_rise`.

    Args:
        operator: An operator of shape [P, P].
        scale: Diagonal of S, a number or [P].
        samples: Number of random vectors, >= 2.
        seed: Seed of the vectors.

    Returns:
        The mean over the vectors and its standard error.

    Raises:
        ValueError: If there are fewer than two vectors.

    Source:
        Hutchinson 1989.

    Example:
        Signs see a diagonal without error.

        >>> from scipy.sparse.linalg import aslinearoperator
        >>> trace(aslinearoperator(np.diag([3.0, -5.0, 1.0])), samples=4)
        Estimate(value=-1.0, standard_error=0.0)
    """
    _check_samples(samples, 2)
    size = operator.shape[1]
    z = np.random.default_rng(seed).choice([-1.0, 1.0], size=(size, samples))
    z *= np.broadcast_to(np.asarray(scale, dtype=np.float64), size)[:, None]
    return _mean((z * _multiply(operator, z)).sum(0))


def root_mean_squares(network: nn.Module) -> Array:
    """Root mean square of the parameter tensor that each weight belongs to.

    Args:
        network: A network with parameters that require gradients.

    Returns:
        One number per weight, [P], in the order of `hessian`.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(linear.weight, 3.0), nn.init.zeros_(linear.bias)
        >>> root_mean_squares(linear).tolist()
        [3.0, 3.0, 3.0, 3.0, 0.0, 0.0]
    """
    parts = [p.detach().double() for p in network.parameters() if p.requires_grad]
    return np.concatenate([np.full(p.numel(), p.square().mean().sqrt().item()) for p in parts])


def asymmetry(operator: Any, *, samples: int = 32, seed: int = 0) -> Estimate:
    r"""How far an operator is from symmetric, from products with random vectors.

    .. math:: \frac{\lVert A - A^\top\rVert_F}{\lVert A + A^\top\rVert_F}

    It is 0 for a symmetric matrix and 1 for a triangular one with zero diagonal.  For independent
    normal vectors z and z', E[(zᵀAz' - z'ᵀAz)²] = ‖A - Aᵀ‖²; the estimate uses all pairs.

    Args:
        operator: An operator of shape [P, P].
        samples: Number of random vectors, >= 3.
        seed: Seed of the vectors.

    Returns:
        The ratio and its standard error, by the jackknife over the vectors.

    Raises:
        ValueError: If there are fewer than three vectors.

    Source:
        Hutchinson 1989 (the estimator).

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> asymmetry(aslinearoperator(np.diag([3.0, -5.0, 1.0]))).value
        0.0
        >>> corner = aslinearoperator(np.array([[0.0, 1.0], [0.0, 0.0]]))
        >>> found = asymmetry(corner, samples=400)
        >>> abs(found.value - 1) < 5 * found.standard_error
        True
    """
    _check_samples(samples, 3)
    z = np.random.default_rng(seed).standard_normal((operator.shape[1], samples))
    pairs = z.T @ _multiply(operator, z)
    odd, even = (pairs - pairs.T) ** 2, (pairs + pairs.T) ** 2
    np.fill_diagonal(even, 0.0)  # pairs of a vector with itself are not independent
    without = np.sqrt(
        (odd.sum() - 2 * odd.sum(0)) / np.maximum(even.sum() - 2 * even.sum(0), 1e-300)
    )
    spread = math.sqrt((samples - 1) / samples * float(((without - without.mean()) ** 2).sum()))
    return Estimate(math.sqrt(float(odd.sum() / max(float(even.sum()), 1e-300))), spread)


def spectral_density(
    operator: Any,
    *,
    iterations: int = 64,
    repeats: int = 4,
    points: int = 512,
    ends: tuple[float, float] | None = None,
    seed: int = 0,
) -> Density:
    """Spectral density of a symmetric operator, smoothed: stochastic Lanczos quadrature.

    Args:
        operator: A symmetric curvlinops operator of shape [P, P].
        iterations: Lanczos steps per random vector, 2 <= iterations <= P; the resolution.
        repeats: Number of random vectors.
        points: Points of the grid.
        ends: Least and largest eigenvalue if they are known, to spare the search for them.
        seed: Seed of the vectors.

    Returns:
        Grid and density.

    Raises:
        ValueError: If an argument is not a positive integer.
        ImportError: If curvlinops is missing.

    Source:
        Papyan 2020, algorithm 2, in curvlinops.

    Example:
        Half of the eigenvalues of this matrix are 2, half are 0.

        >>> from snnlib.data import Dataset
        >>> data = Dataset("one", "train", torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 1)
        >>> def square(output, targets):
        ...     return output.square().sum()
        >>> operator = hessian(nn.Linear(2, 8, bias=False), data, steps=1, loss=square)
        >>> grid, density = spectral_density(operator, iterations=2, repeats=200)
        >>> bool(abs(density[grid > 1].sum() / density.sum() - 0.5) < 0.1)
        True
    """
    curvlinops = require("curvlinops", "curvature")
    for name, value in (("iterations", iterations), ("repeats", repeats), ("points", points)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not 2 <= iterations <= operator.shape[0]:
        raise ValueError(
            f"iterations must be an integer from 2 to {operator.shape[0]}, got {iterations!r}"
        )
    with torch.random.fork_rng(devices=[]):  # curvlinops draws from torch's global generator
        torch.manual_seed(seed)
        grid, density = curvlinops.lanczos_approximate_spectrum(
            operator,
            iterations,
            num_points=points,
            num_repeats=repeats,
            boundaries=ends or _ends(operator),
        )
    return Density(grid.double().cpu().numpy(), density.double().cpu().numpy())


def loss_rise(
    network: nn.Module,
    data: Dataset,
    *,
    radius: float = 0.05,
    samples: int = 20,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    r"""Mean rise of the loss itself at random weights around the present ones; no derivative.

    .. math:: E_z\big[L(W_l + r\,\sqrt{\langle W_l^2\rangle}\,z_l)\big] - L(W), \qquad
        z \sim \mathcal N(0, 1)

    The step is relative to the root mean square of each parameter tensor, so the answer does not
    depend on the unit of weights and thresholds.

    Args:
        network: Currents [T, batch, features...] to outputs; not changed, evaluated in evaluation
            mode.
        data: The samples to average over.
        radius: Relative size r > 0 of the step.
        samples: Number of random directions, >= 2; each is taken both ways.
        steps: Time steps T; each sample is a constant current.
        loss: As for `hessian`.
        batch_size: Samples per pass.
        seed: Seed of the directions.

    Returns:
        The mean over the directions and its standard error.

    Raises:
        ValueError: If an argument is outside its range, the data are empty or not finite, or the
            network has nothing to learn.

    Source:
        Neyshabur et al. 2017 (expected sharpness).

    Example:
        The mean of w² x² rises by r² w² x².

        >>> from snnlib.data import Dataset
        >>> data = Dataset("one", "train", torch.tensor([[2.0]]), torch.tensor([0]), 1)
        >>> linear = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(linear.weight, 3.0)
        >>> def square(output, targets):
        ...     return output.square().mean()
        >>> found = loss_rise(linear, data, radius=0.1, samples=4000, steps=1, loss=square)
        >>> abs(found.value - 0.1**2 * 36) < 5 * found.standard_error
        True
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be positive and finite, got {radius!r}")
    _check_samples(samples, 2)
    model, function, parameters, batches = _parts(network, data, steps, loss, batch_size)
    center = [parameter.detach().clone() for parameter in parameters]
    scales = [radius * tensor.square().mean().sqrt() for tensor in center]
    generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def value() -> float:
        total = sum(function(model(x), y).double() * len(y) for x, y in batches)
        return float(total) / len(data)

    rises, here = [], value()
    for _ in range(samples):
        z = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in center]
        ends = []
        for sign in (1, -1):  # both ways, so that a slope of the loss adds no noise
            for parameter, tensor, scale, part in zip(parameters, center, scales, z, strict=True):
                parameter.data = tensor + sign * scale * part.to(tensor)
            ends.append(value())
        rises.append(sum(ends) / 2 - here)
    return _mean(np.array(rises))


# --- Inside ---------------------------------------------------------------------------------------


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


def _parts(
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


class _HeldSpike(torch.autograd.Function):
    """A step with the surrogate's derivative on the way back, and none in a change of weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, surrogate: Surrogate) -> Tensor:
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        v, ctx.surrogate = inputs
        ctx.save_for_backward(v)
        ctx.save_for_forward(v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.surrogate.derivative(ctx.saved_tensors[0]), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Any) -> Tensor:
        return torch.zeros_like(tangent)


def _held(v: Tensor, surrogate: Surrogate) -> Tensor:
    return _HeldSpike.apply(v, surrogate)


class _Substitute(nn.Module):
    """A LIF layer, step by step, with another function in place of the spike."""

    def __init__(self, layer: LIF, spike: Callable[[Tensor, Surrogate], Tensor]) -> None:
        super().__init__()
        self.layer, self.spike = layer, spike

    def forward(self, current: Tensor) -> Tensor:
        layer, rule = self.layer, RULES[self.layer.reset]
        threshold, leak = layer.threshold, layer.leak
        membrane: Any = layer.initial
        if isinstance(membrane, nn.Module):  # a running mean, frozen: the network is evaluated
            membrane = membrane()
        spikes: Any = 0.0
        output: list[Tensor] = []
        for now in current:
            if membrane is not None:
                before = spikes.detach() if layer.detach_reset and output else spikes
                now = rule.carry(membrane, before, threshold, leak) + now
            membrane = now
            relative = layer.threshold_gradient != "absolute"
            v = membrane / threshold - 1 if relative else membrane - threshold
            spikes = self.spike(v, layer.surrogate)
            output.append(spikes)
        stacked = torch.stack(output)
        return threshold * stacked if layer.threshold_gradient == "threshold_robust" else stacked


def _substituted(network: nn.Module, spike: Callable[[Tensor, Surrogate], Tensor]) -> nn.Module:
    """A copy of a network with another function in place of the spike."""
    for name, module in network.named_modules():
        if type(module) is not LIF and dialects.is_spiking(module):
            raise ValueError(
                f"network must spike in layers of snnlib.neurons.LIF alone, got "
                f"{type(module).__name__} in {name or 'the network itself'}"
            )
    copied = copy.deepcopy(network)
    if isinstance(copied, LIF):
        return _Substitute(copied, spike)
    for module in list(copied.modules()):
        if not isinstance(module, _Substitute):  # smooth already
            for name, child in list(module.named_children()):
                if isinstance(child, LIF):
                    setattr(module, name, _Substitute(child, spike))
    return copied


def _multiply(operator: Any, vectors: Array) -> Array:
    """Product with one vector or the columns of a matrix, a few at a time to spare memory."""
    if not hasattr(operator, "to_scipy"):  # one of scipy's own
        return np.asarray(operator @ vectors, dtype=np.float64)
    columns = vectors.reshape(operator.shape[1], -1)
    parts = []
    for low in range(0, columns.shape[1], _COLUMNS):
        some = torch.as_tensor(columns[:, low : low + _COLUMNS])
        product = operator @ some.to(operator.device, operator.dtype)
        parts.append(product.detach().double().cpu().numpy())
    return np.concatenate(parts, axis=1).reshape(vectors.shape)


_COLUMNS = 16


def _ends(operator: Any) -> tuple[float, float]:
    """Least and largest eigenvalue; curvlinops' own search needs more than three rows."""
    if operator.shape[0] <= 16:
        values = np.linalg.eigvalsh(matrix(operator))
        return float(values[0]), float(values[-1])
    low, high = (
        eigenvalues(operator, 1, which=which, tolerance=1e-2)[0]
        for which in ("smallest", "largest")
    )
    return float(low), float(high)


def _check_samples(samples: int, low: int) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < low:
        raise ValueError(f"samples must be an integer >= {low}, got {samples!r}")


def _mean(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
