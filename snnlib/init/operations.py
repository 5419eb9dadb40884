"""What each torch function makes of the flows that enter it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from snnlib.init.flow import Flow, affine, mixed, passed, sum_of

__all__ = ["flow_of", "remember", "result_of"]

SHAPE = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "ravel",
        "transpose",
        "permute",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "repeat",
        "contiguous",
        "clone",
        "detach",
        "detach_",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type",
        "type_as",
        "cpu",
        "cuda",
        "t",
        "__getitem__",
        "__get__",
        "select",
        "narrow",
        "split",
        "chunk",
        "unbind",
        "movedim",
        "moveaxis",
        "swapaxes",
        "swapdims",
        "view_as",
        "reshape_as",
        "index_select",
        "gather",
        "roll",
        "flip",
        "tile",
        "as_strided",
        "unfold",
        "pad",
        "_pad",
        "alias",
        "requires_grad_",
        "retain_grad",
        "repeat_interleave",
        "tensor_split",
        "take_along_dim",
        "diagonal",
        "interpolate",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "pixel_shuffle",
        "pixel_unshuffle",
        "checkpoint",
        "numpy",
        "item",
        "tolist",
        "share_memory_",
        "pin_memory",
        "positive",
    ]
)
BESIDE = frozenset(
    [
        "cat",
        "concat",
        "concatenate",
        "stack",
        "hstack",
        "vstack",
        "dstack",
        "__setitem__",
        "copy_",
        "where",
        "index_put",
        "index_put_",
        "scatter",
        "scatter_",
        "index_copy_",
        "masked_scatter",
        "block_diag",
        "masked_fill",
        "masked_fill_",
    ]
)
SUMS = frozenset(
    [
        "add",
        "__add__",
        "__radd__",
        "__iadd__",
        "add_",
        "sub",
        "subtract",
        "__sub__",
        "__isub__",
        "sub_",
    ]
)
TAKEN = frozenset(["rsub", "__rsub__"])
TIMES = frozenset(["mul", "multiply", "__mul__", "__rmul__", "__imul__", "mul_"])
OVER = frozenset(["div", "true_divide", "divide", "__truediv__", "__itruediv__", "div_"])
BETWEEN = frozenset(
    [
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "einsum",
        "baddbmm",
        "dot",
        "tensordot",
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "scaled_dot_product_attention",
    ]
)
NORMS = frozenset(
    ["batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"]
)


def flow_of(value: Any) -> Flow | None:
    """The flow that a tensor remembers."""
    return getattr(value, "_snnlib_flow", None)


def remember(value: Tensor, flow: Flow) -> Tensor:
    """The tensor, which remembers a flow from now on."""
    value._snnlib_flow = flow  # type: ignore[attr-defined]
    return value


def result_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flow | None:
    """The flow of a function's result; None if nothing known enters it.

    Args:
        name: Of the function.
        args: Its arguments.
        kwargs: Likewise.

    Returns:
        The flow.
    """
    # What has a flow counts; a parameter or a constant beside it is a number that is not known.
    flows = [f for leaf in tree_leaves((args, kwargs)) if (f := flow_of(leaf)) is not None]
    if not flows:
        return None
    if name in SHAPE and len(flows) == 1:
        return flows[0]
    if name in BESIDE or name in SHAPE:
        return mixed(flows)
    if name in NORMS:
        return passed("normalization", flows, name=name)
    if "dropout" in name:
        return _dropped(name, flows[0], args, kwargs)
    if "pool" in name:
        return _pooled(name, flows[0], args, kwargs)
    if name in (*SUMS, *TAKEN):
        return _added(name, flows, args)
    if name in (*TIMES, *OVER):
        return _multiplied(name, flows, args)
    if name in BETWEEN and len(flows) > 1:
        return passed("matrix product", flows)
    return passed("function", flows, name=name.strip("_"))


def _number(value: Any) -> float:
    """The number that stands beside a flow; NaN if it is a tensor of several."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1 and flow_of(value) is None:
        return float(value.detach())
    return math.nan


def _other(args: Sequence[Any]) -> float:
    return next((_number(a) for a in args[:2] if flow_of(a) is None), math.nan)


def _added(name: str, flows: Sequence[Flow], args: Sequence[Any]) -> Flow:
    reverse = name in TAKEN
    minus = reverse or "sub" in name
    if len(flows) == 1:
        first = flow_of(args[0]) is not None
        if not minus:
            return affine(flows[0], 1.0, _other(args))
        negative = first == reverse  # a - x, not x - a
        return affine(flows[0], -1.0 if negative else 1.0, _other(args) * (1 if negative else -1))
    one, two = flows[:2]
    if one == two:
        return affine(one, 0.0 if minus else 2.0)
    if minus:
        one, two = (affine(one, -1.0), two) if reverse else (one, affine(two, -1.0))
    return sum_of((one, two))


def _multiplied(name: str, flows: Sequence[Flow], args: Sequence[Any]) -> Flow:
    if len(flows) > 1:
        kind = "product" if name in TIMES else "function"
        return passed(kind, flows, name="" if kind == "product" else "div")
    number = _other(args)
    if name in OVER:
        if flow_of(args[0]) is None:
            return passed("function", flows, name="div")
        number = 1 / number if number else math.nan
    return affine(flows[0], number)


def _dropped(name: str, part: Flow, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flow:
    share = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    # The word is `training` in torch.nn.functional and `train` in torch.
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
    if not training or share == 0:
        return part
    if "alpha" in name:  # what it drops becomes -1.76 and not 0, and all of it is shifted
        return passed("function", [part], name=name.strip("_"))
    return passed("dropout", [part], number=float(share) if share < 1 else math.nan)


def _pooled(name: str, part: Flow, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flow:
    largest = "max" in name
    if not (largest or "avg" in name):
        return passed("function", [part], name=name)
    kind = "max pooling" if largest else "average pooling"
    size: Any = kwargs.get("kernel_size", args[1] if len(args) > 1 else math.nan)
    value = args[0] if args else kwargs.get("input")
    dimensions = next((int(digit) for digit in name if digit.isdigit()), 1)
    if "adaptive" in name and isinstance(value, Tensor):
        given = size if isinstance(size, tuple | list) else (size,) * dimensions
        shape = value.shape[-dimensions:]
        number = math.prod(n / (k or n) for n, k in zip(shape, given, strict=False))
    elif isinstance(size, tuple | list):
        number = math.prod(size) ** (dimensions if len(size) == 1 else 1)
    else:
        number = size**dimensions
    return passed(kind, [part], number=float(number))
