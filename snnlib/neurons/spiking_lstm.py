r"""The spiking LSTM (sLSTM): an LSTM whose activations are steps.

There is no membrane equation: what is kept is the cell c of an LSTM, and gates decide what enters,
stays and leaves. With the weighted input and bias i[t] of 4n channels, in the order input gate,
forget gate, cell, output gate as in torch, and recurrent weights W of shape [4n, n],

    d[t] = i[t] + W h[t-1] = (d_i, d_f, d_g, d_o)[t],
    I = H(d_i),    F = H(d_f),    G = K(d_g),    O = H(d_o),
    c[t] = F c[t-1] + I G,        h[t] = O K(c[t]),

H(v) = 1 if v > 0 else 0 in the place of the sigmoid, and in the place of tanh

    K(v) = 1 - 2 H(v)    "printed": as the paper prints it,
    K(v) = 2 H(v) - 1    "rising": as tanh rises.

With c → -c the two are one network as long as no cell is 0. All values are integers: h is -1, 0 or
1, and c counts.

Backward. Let s_i, s_f, s_g, s_o be the surrogate slopes at d[t] and s_c that at c[t] (with the
factor ±2 of K), and z, y the incoming gradients of h and c. Backward in time,

    η[t] = dL/dh[t] = z[t] + δ[t+1] W
    κ[t] = dL/dc[t] = y[t] + O s_c η[t] + F[t+1] κ[t+1]
    δ[t] = dL/dd[t] = (s_i G κ[t], s_f c[t-1] κ[t], s_g I κ[t], s_o K(c[t]) η[t])

and dL/di[t] = δ[t], dL/dW = Σ_t δ[t]ᵀ h[t-1].
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from snnlib.neurons._checks import check_choice, check_export, fitted, floating, sequence
from snnlib.neurons._recursion import add_up, block
from snnlib.neurons._settings import as_surrogate
from snnlib.neurons._weight import check_width, draw_
from snnlib.surrogate import Surrogate

__all__ = ["SpikingLSTM", "SpikingLSTMState", "SpikingLSTMTrace", "spiking_lstm"]

Activation: TypeAlias = Literal["printed", "rising"]


class SpikingLSTMState(NamedTuple):
    """What a layer of spiking LSTM cells remembers between two steps.

    Attributes:
        output: h, [batch, n].
        cell: c, same shape.
    """

    output: Tensor
    cell: Tensor


class SpikingLSTMTrace(NamedTuple):
    """Trajectory of a layer of spiking LSTM cells.

    Attributes:
        output: h in {-1, 0, 1}, [T, batch, n].
        cell: c, same shape and dtype.
    """

    output: Tensor
    cell: Tensor

    @property
    def state(self) -> SpikingLSTMState:
        """The last output and cell: as `initial`, they continue the trajectory."""
        return SpikingLSTMState(self.output[-1], self.cell[-1])


def spiking_lstm(
    current: Tensor,
    weight: Tensor,
    *,
    activation: Activation = "printed",
    surrogate: Surrogate | None = None,
    initial: tuple[Tensor, Tensor] | None = None,
) -> SpikingLSTMTrace:
    r"""Run spiking LSTM cells over T steps.

    .. math:: d[t] &= i[t] + W h[t-1], \\
              c[t] &= H(d_f) \, c[t-1] + H(d_i) \, K(d_g), \qquad h[t] = H(d_o) \, K(c[t])

    with $H(v) = [v > 0]$ and $K = 1 - 2 H$ (`"printed"`) or $2 H - 1$ (`"rising"`). On the way
    back the derivative of H is the surrogate's, everywhere. Second derivatives work; forward mode
    and `torch.vmap` do not.

    Args:
        current: Input i of all four gates (weighted input plus bias), [T, batch, 4n], floating
            point, T >= 1, in the order input, forget, cell, output.
        weight: Recurrent weights, [4n, n], in the same order.
        activation: What stands in the place of tanh.
        surrogate: Derivative of H on the way back; None is `Surrogate("arctan")`.
        initial: State before the first step: an (output, cell) pair such as the ``.state`` of an
            earlier trace; None is 0. Tensors broadcast to [batch, n].

    Returns:
        Output and cell, each [T, batch, n].

    Raises:
        ValueError: If the current is not a floating-point tensor [T, batch, 4n] with T >= 1, the
            weight not one of [4n, n], the activation is unknown, or a tensor does not broadcast
            to [batch, n].

    Source:
        Herranz-Celotti & Rouat 2022, section 2.1.

    Example:
        All gates open: the cell counts the steps, down where d_g > 0 and up elsewhere, and the
        output is its sign, turned round.

        >>> import torch
        >>> gates = torch.ones(5, 1, 4)
        >>> gates[:, 0, 2] = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0])
        >>> trace = spiking_lstm(gates, torch.zeros(4, 1))
        >>> trace.cell.flatten().tolist(), trace.output.flatten().tolist()
        ([-1.0, 0.0, 1.0, 2.0, 1.0], [1.0, 1.0, -1.0, -1.0, -1.0])
        >>> rising = spiking_lstm(gates, torch.zeros(4, 1), activation="rising").cell
        >>> torch.equal(rising, -trace.cell)
        True
    """
    check_choice("activation", activation, get_args(Activation))
    return _run(
        current,
        weight,
        initial,
        as_surrogate(surrogate),
        -2.0 if activation == "printed" else 2.0,
    )


class SpikingLSTM(nn.Module):
    r"""A layer of spiking LSTM cells: a module around `spiking_lstm`.

    The weighted input of the four gates goes in, so an `nn.Linear(inputs, 4 * width)` stands in
    front of it, whose bias is the gates' bias.

    Args:
        width: Number n of cells.
        activation: `"printed"` or `"rising"`, see `spiking_lstm`.
        surrogate: Derivative of the steps on the way back; None is `Surrogate("arctan")`.
        generator: Random numbers for the weight, uniform in ±1/√n as torch draws an LSTM's; None
            is torch's global generator.

    Attributes:
        weight: Recurrent weights [4n, n].

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Herranz-Celotti & Rouat 2022, section 2.1.

    Example:
        >>> import torch
        >>> layer = SpikingLSTM(3)
        >>> layer(torch.ones(5, 2, 12)).shape, layer.weight.shape
        (torch.Size([5, 2, 3]), torch.Size([12, 3]))
    """

    def __init__(
        self,
        width: int,
        *,
        activation: Activation = "printed",
        surrogate: Surrogate | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_width(width)
        check_choice("activation", activation, get_args(Activation))
        super().__init__()
        self.activation: Activation = activation
        self.surrogate = as_surrogate(surrogate)
        self.weight = nn.Parameter(torch.empty(4 * width, width))
        self.reset_parameters(generator)

    @property
    def width(self) -> int:
        """Number n of cells."""
        return self.weight.shape[1]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight from the uniform law on ±1/√n.

        Args:
            generator: Random numbers; None is torch's global generator.
        """
        draw_(self.weight, generator)

    def trace(self, current: Tensor) -> SpikingLSTMTrace:
        """Output and cell for the input of the gates [T, batch, 4n]; see `spiking_lstm`.

        Args:
            current: Weighted input of the four gates, [T, batch, 4n], floating point, T >= 1.

        Returns:
            Output and cell, each [T, batch, n].

        Raises:
            ValueError: If the current is not such a tensor.
        """
        return spiking_lstm(
            current, self.weight, activation=self.activation, surrogate=self.surrogate
        )

    def forward(self, current: Tensor) -> Tensor:
        """Output [T, batch, n]; see `trace`."""
        return self.trace(current).output

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return f"{self.width}, activation={self.activation!r}, surrogate={self.surrogate!r}"


# --- The fused function ---------------------------------------------------------------------------


def _run(
    current: Tensor,
    weight: Tensor,
    initial: tuple[Tensor, Tensor] | None,
    surrogate: Surrogate,
    sign: float,
) -> SpikingLSTMTrace:
    """Fit all tensors to the current and apply the fused function."""
    current = sequence(current)
    if current.dim() != 3 or current.shape[-1] % 4 != 0 or current.shape[-1] == 0:
        raise ValueError(
            f"current must be [T, batch, 4n] with four channels a cell, "
            f"got shape {list(current.shape)}"
        )
    check_export(current, weight)
    width = current.shape[-1] // 4
    weight = floating("weight", weight)
    if weight.shape != (4 * width, width):
        raise ValueError(
            f"weight must be [4n, n] = [{4 * width}, {width}] for a current of {4 * width} "
            f"channels, got shape {list(weight.shape)}"
        )
    state: list[Tensor | None] = [None, None]
    if initial is not None:
        if not isinstance(initial, tuple) or len(initial) != 2:
            raise ValueError(f"initial must be an (output, cell) pair, got {_kind(initial)}")
        shaped = current[..., :width]
        state = [
            fitted(f"initial {name}", floating(f"initial {name}", value), shaped)
            for name, value in zip(("output", "cell"), initial, strict=True)
        ]
    output, cell, _ = _FusedLSTM.apply(current, weight.to(current.dtype), *state, surrogate, sign)
    return SpikingLSTMTrace(output, cell)


def _kind(value: object) -> str:
    length = f" of length {len(value)}" if isinstance(value, tuple) else ""
    return f"a {type(value).__name__}{length}"


class _Step(torch.autograd.Function):
    """H with the surrogate's derivative, for derivatives of the way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, surrogate: Surrogate) -> Tensor:
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        v, ctx.surrogate = inputs
        ctx.save_for_backward(v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * ctx.surrogate.derivative(ctx.saved_tensors[0]), None


class _FusedLSTM(torch.autograd.Function):
    """All T steps as one node of the autograd graph.

    Inputs: current [T, batch, 4n], weight, output and cell before the first step (both tensors or
    both None), surrogate, the factor ±2 of K. Outputs: output, cell, and the gates' drive d.
    """

    @staticmethod
    def forward(
        current: Tensor,
        weight: Tensor,
        output0: Tensor | None,
        cell0: Tensor | None,
        surrogate: Surrogate,
        sign: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, batch, width = current.shape[0], current.shape[1], weight.shape[1]
        drive = torch.empty_like(current, memory_format=torch.contiguous_format)
        cell = current.new_empty(steps, batch, width)
        output = torch.empty_like(cell)
        gates = current.new_empty(batch, 4 * width)
        into = weight.t()
        h = None if output0 is None else output0.expand(batch, width)
        c = None if cell0 is None else cell0.expand(batch, width)
        for t in range(steps):
            drive[t] = current[t]
            if h is not None:
                drive[t].addmm_(h, into)
            torch.gt(drive[t], 0, out=gates)
            enter, keep, value, leave = gates.chunk(4, 1)
            value.mul_(sign).sub_(sign / 2)
            torch.mul(enter, value, out=cell[t])
            if c is not None:
                cell[t].addcmul_(keep, c)
            torch.gt(cell[t], 0, out=output[t])
            output[t].mul_(sign).sub_(sign / 2).mul_(leave)
            h, c = output[t], cell[t]
        return output, cell, drive

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        current, weight, output0, cell0, ctx.surrogate, ctx.sign = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[2])
        # Outputs are saved, not copies of them: a second derivative flows back through them.
        ctx.save_for_backward(*output, current, weight, output0, cell0)

    @staticmethod
    def backward(ctx: Any, grad_output: Any, grad_cell: Any, _: Any) -> Any:
        if grad_output is None and grad_cell is None:
            return (None,) * 6
        output, cell, drive, current, weight, output0, cell0 = ctx.saved_tensors
        first = torch.zeros_like(cell[:1])
        before_h = torch.cat([first if output0 is None else first + output0, output[:-1]])
        before_c = torch.cat([first if cell0 is None else first + cell0, cell[:-1]])
        if torch.is_grad_enabled():  # this pass is itself differentiated: then out of place
            drive = current + before_h @ weight.t()
            delta, by_cell = _record(ctx, grad_output, grad_cell, cell, before_c, drive, weight)
        else:
            delta, by_cell = _reverse(ctx, grad_output, grad_cell, cell, before_c, drive, weight)
        grads: list[Any] = [delta, None, None, None, None, None]
        if ctx.needs_input_grad[1]:
            grads[1] = delta.flatten(0, 1).t() @ before_h.flatten(0, 1)
        if ctx.needs_input_grad[2]:
            grads[2] = add_up([delta[0] @ weight], output0)
        if ctx.needs_input_grad[3]:
            keep = _Step.apply(drive[0].chunk(4, -1)[1], ctx.surrogate)
            grads[3] = add_up([keep * by_cell], cell0)
        return tuple(grads)


def _reverse(
    ctx: Any,
    grad_output: Any,
    grad_cell: Any,
    cell: Tensor,
    before: Tensor,
    drive: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """δ of every step and κ of the first, in place."""
    steps, batch, width = cell.shape
    delta = torch.empty_like(drive)
    eta, kappa = (cell.new_zeros(batch, width) for _ in range(2))
    carried = torch.zeros_like(kappa)  # F[t+1] κ[t+1]
    size = block(drive)
    for high in range(steps, 0, -size):
        low = max(high - size, 0)
        gates = (drive[low:high] > 0).to(cell.dtype)
        enter, keep, value, leave = gates.chunk(4, -1)
        part = ctx.surrogate.derivative(drive[low:high])
        by_enter, by_keep, by_value, by_leave = part.chunk(4, -1)
        shown = (cell[low:high] > 0).to(cell.dtype).mul_(ctx.sign).sub_(ctx.sign / 2)
        by_enter.mul_(ctx.sign * value - ctx.sign / 2)
        by_keep.mul_(before[low:high])
        by_value.mul_(enter).mul_(ctx.sign)
        by_leave.mul_(shown)
        by_output = ctx.surrogate.derivative(cell[low:high]) * leave * ctx.sign
        for t in range(high - 1, low - 1, -1):
            k = t - low
            if grad_output is None:
                eta.zero_()
            else:
                eta.copy_(grad_output[t])
            if t + 1 < steps:
                eta.addmm_(delta[t + 1], weight)
            torch.mul(by_output[k], eta, out=kappa)
            if grad_cell is not None:
                kappa.add_(grad_cell[t])
            kappa.add_(carried)
            own, factors = (value.view(batch, 4, width) for value in (delta[t], part[k]))
            torch.mul(factors[:, :3], kappa.unsqueeze(1), out=own[:, :3])
            torch.mul(factors[:, 3], eta, out=own[:, 3])
            torch.mul(keep[k], kappa, out=carried)
    return delta, kappa


def _record(
    ctx: Any,
    grad_output: Any,
    grad_cell: Any,
    cell: Tensor,
    before: Tensor,
    drive: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """The same with operations that autograd can record."""
    enter, keep, value, leave = _Step.apply(drive, ctx.surrogate).chunk(4, -1)
    value = ctx.sign * value - ctx.sign / 2
    shown = ctx.sign * _Step.apply(cell, ctx.surrogate) - ctx.sign / 2
    by_enter, by_keep, by_value, by_leave = ctx.surrogate.derivative(drive).chunk(4, -1)
    by_output = ctx.surrogate.derivative(cell) * leave * ctx.sign
    rows: list[Tensor] = []
    kappa = torch.zeros_like(cell[0])
    for t in range(cell.shape[0] - 1, -1, -1):
        eta = torch.zeros_like(cell[0]) if grad_output is None else grad_output[t]
        carried = torch.zeros_like(cell[0]) if grad_cell is None else grad_cell[t]
        if rows:
            eta = eta + rows[-1] @ weight
            carried = carried + keep[t + 1] * kappa
        kappa = carried + by_output[t] * eta
        parts = (
            by_enter[t] * value[t] * kappa,
            by_keep[t] * before[t] * kappa,
            by_value[t] * enter[t] * ctx.sign * kappa,
            by_leave[t] * shown[t] * eta,
        )
        rows.append(torch.cat(parts, -1))
    return torch.stack(rows[::-1]), kappa
