"""Products by sums over spikes and by oneDNN: torch's up to rounding, chosen by the values."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import products
from snnlib.products import Convolution, Linear, forced, is_sparse
from snnlib.products import dense as dense_module
from snnlib.products.sparse import LIMIT, ROWS, sums, transposed_sums

EPS = torch.finfo(torch.float32).eps


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (5, 1, 4), (4, 7, 1), (9, 8, 6)])
def test_sums_are_products(shape, share, ones):
    rows, n, m = shape
    generator = seeded(1)
    x = (torch.rand(rows, n, generator=generator) < share).double()
    if not ones:
        x *= torch.randn(rows, n, generator=generator, dtype=torch.float64)
    table = torch.randn(n, m, generator=generator, dtype=torch.float64)
    for layout in (table, table.t().contiguous().t()):
        torch.testing.assert_close(sums(x, layout, ones), x @ table, rtol=0, atol=1e-13)
    torch.testing.assert_close(transposed_sums(x, x, ones), x.t() @ x, rtol=0, atol=1e-12)


def test_sums_over_more_rows_than_a_block_are_products():
    x = (torch.rand(2 * ROWS + 3, 5, generator=seeded(1)) < 0.1).double()
    table = torch.randn(len(x), 4, generator=seeded(2), dtype=torch.float64)
    torch.testing.assert_close(transposed_sums(x, table, True), x.t() @ table)
    torch.testing.assert_close(transposed_sums(3 * x, table), 3 * x.t() @ table)


@pytest.mark.parametrize("dense", ["torch", "onednn"])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("graded", [True, False])
def test_each_way_gives_the_three_products_within_their_rounding(dense, sparse, graded):
    """The error of a sum of n products is at most n ε times the sum of their sizes."""
    if dense == "onednn" and products.onednn():
        pytest.skip(products.onednn())
    generator = seeded(1)
    x = (torch.rand(300, 170, generator=generator) < 0.1).float()
    if graded:
        x *= torch.randn(x.shape, generator=generator)
    weight = torch.randn(190, 170, generator=generator)
    grad, bias = torch.randn(300, 190, generator=generator), torch.randn(190, generator=generator)
    product = Linear(spikes=not graded)
    with forced(dense=dense, sparse=sparse):
        found = (
            product.forward(x, weight, bias),
            product.backward_input(grad, x, weight),
            product.backward_weight(grad, x, weight),
        )
    exact = (
        (x, weight.t(), bias),
        (grad, weight, torch.zeros(())),
        (grad.t(), x, torch.zeros(())),
    )
    for value, (a, b, c) in zip(found, exact, strict=True):
        truth = a.double() @ b.double() + c.double()
        bound = (a.shape[1] + 1) * EPS * (a.abs().double() @ b.abs().double() + c.abs().double())
        assert ((value - truth).abs() <= bound).all()


def test_dense_products_are_onednns_where_it_is_asked_for(monkeypatch):
    if products.onednn():
        pytest.skip(products.onednn())
    calls = []
    real = dense_module._onednn
    monkeypatch.setattr(dense_module, "_onednn", lambda *a: calls.append(a) or real(*a))
    x, weight = torch.randn(300, 200), torch.randn(200, 200)
    for dense, wanted in (("torch", 0), ("onednn", 1)):
        calls.clear()
        with forced(dense=dense):
            dense_module.linear(x, weight)
            dense_module.linear(x.double(), weight.double())  # torch's
            dense_module.linear(x[:3], weight)  # too small to be worth a call
        assert len(calls) == wanted


def test_a_wrong_or_absent_onednn_is_not_used(monkeypatch):
    dense_module.onednn.cache_clear()
    try:
        monkeypatch.setattr(
            dense_module, "_onednn", lambda x, w, b: 1.001 * functional.linear(x, w)
        )
        assert "other products" in products.onednn()
        with forced(dense="onednn"):
            assert not dense_module.uses_onednn()
            assert "dense by torch" in products.describe()
        dense_module.onednn.cache_clear()

        def absent(*_):
            raise AttributeError("no such operator")

        monkeypatch.setattr(dense_module, "_onednn", absent)
        assert "does not offer" in products.onednn()
    finally:
        dense_module.onednn.cache_clear()


def test_few_spikes_are_summed_and_many_multiplied():
    weight = torch.zeros(200, 1000)
    by_input = weight.t().contiguous().t()
    for share, wanted in ((0.9 * LIMIT, True), (1.1 * LIMIT, False)):
        x = torch.zeros(256, 1000)
        x[:, : int(1000 * share)] = 1
        assert is_sparse(x, weight) is wanted
        assert is_sparse(x[:4], by_input) is wanted
    few = torch.zeros(256, 1000)
    assert not is_sparse(few[:4], weight)  # the copy of the weights would cost more
    assert not is_sparse(few, torch.zeros(3, 1000))
    assert not is_sparse(few[:0], weight)
    with forced(sparse=False):
        assert not is_sparse(few, weight)
    with forced(sparse=True):
        assert is_sparse(torch.ones(1, 1000), weight)
    assert not is_sparse(few.to("meta"), weight)


def test_a_choice_ends_with_its_block_also_by_an_error():
    before = products.describe()
    with pytest.raises(RuntimeError), forced(dense="torch", sparse=True):
        assert products.describe() != before
        raise RuntimeError
    assert products.describe() == before


def test_unknown_libraries_are_refused():
    wanted = "dense must be one of auto, torch, onednn; got 'mkl'"
    with pytest.raises(ValueError, match=wanted), forced(dense="mkl"):
        pass
    with (
        pytest.raises(ValueError, match="sparse must be True, False or None; got 2"),
        forced(sparse=2),
    ):
        pass
    command = [sys.executable, "-c", "import snnlib.products"]
    done = subprocess.run(command, env={"SNNLIB_DENSE": "blas"}, capture_output=True, text=True)
    assert "SNNLIB_DENSE must be one of auto, torch, onednn; got 'blas'" in done.stderr


@pytest.mark.parametrize("spikes", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_product_as_a_node_has_torchs_first_and_second_derivatives(kind, spikes):
    generator = seeded(2)
    if kind == "linear":
        layer, shape = nn.Linear(6, 5).double(), (7, 6)
        product = Linear(spikes)
    else:
        layer, shape = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2).double(), (3, 2, 5, 5)
        product = Convolution.of(layer, spikes)
    x = (torch.rand(shape, generator=generator) < 0.4).double()
    if not spikes:  # else the numerical derivative would leave zeros and ones
        x.requires_grad_()

    def node(x, weight, bias):
        with forced(sparse=True):
            return products.apply(product, x, weight, bias)

    inputs = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(node, inputs)
    assert torch.autograd.gradgradcheck(node, inputs)
    torch.testing.assert_close(node(*inputs), layer(x), rtol=0, atol=1e-14)


def test_gradients_of_a_node_can_be_batched():
    layer, x = nn.Linear(3, 2).double(), torch.eye(3).double()
    value = products.apply(Linear(True), x, layer.weight, layer.bias)
    vectors = torch.randn(4, *value.shape, generator=seeded(3), dtype=torch.float64)
    found = torch.autograd.grad(value, layer.weight, vectors, is_grads_batched=True)[0]
    torch.testing.assert_close(found, vectors.transpose(1, 2) @ x)
