"""Surrogate derivatives: normal form, primitives, moments, and other libraries as oracles."""

import copy
import importlib
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from snnlib.surrogate import LIBRARY_NAMES, SHAPES, Surrogate, from_library

# Where a shape (γ = s = 1) or its slope jumps.
KINKS = {
    "triangular": [-1.0, 0.0, 1.0],
    "exponential": [0.0],
    "gaussian": [],
    "sigmoid": [],
    "fast_sigmoid": [0.0],
    "rectangular": [-0.5, 0.5],
    "arctan": [],
    "q_pseudospike": [0.0],
}
SMOOTH = [shape for shape, kinks in KINKS.items() if not kinks]

# The shapes of Table S1 written a second time, for numbers.
TABLE = {
    "triangular": lambda v, q: max(1 - abs(v), 0.0),
    "exponential": lambda v, q: math.exp(-2 * abs(v)),
    "gaussian": lambda v, q: math.exp(-math.pi * v * v),
    "sigmoid": lambda v, q: 1 / math.cosh(min(abs(2 * v), 300.0)) ** 2,
    "fast_sigmoid": lambda v, q: (1 + 2 * abs(v)) ** -2,
    "rectangular": lambda v, q: float(abs(v) < 0.5),
    "arctan": lambda v, q: 1 / (1 + (math.pi * v) ** 2),
    "q_pseudospike": lambda v, q: (1 + 2 * abs(v) / (q - 1)) ** -q,
}

# The printed ∫ f² of the module's table.
SQUARE_AREA = {
    "triangular": 2 / 3,
    "exponential": 1 / 2,
    "gaussian": 1 / math.sqrt(2),
    "sigmoid": 2 / 3,
    "fast_sigmoid": 1 / 3,
    "rectangular": 1.0,
    "arctan": 1 / 2,
}

GRID = torch.linspace(-6, 6, 2401, dtype=torch.float64)


def near(expected: float, rel: float):
    """As pytest.approx, which by default accepts any number below 1e-12 for any other."""
    return pytest.approx(expected, rel=rel, abs=1e-300)


def away_from_kinks(surrogate: Surrogate, v: torch.Tensor, gap: float) -> torch.Tensor:
    for kink in KINKS[surrogate.shape]:
        v = v[(v - kink / surrogate.sharpness).abs() > gap]
    return v


def quadrature(surrogate: Surrogate, power: float, density, low: float, high: float) -> float:
    """∫ σ'(v)^power density(v) dv on [low, high], by scipy's adaptive rule split at the kinks."""
    s, q = surrogate.sharpness, surrogate.tail

    def integrand(v: float) -> float:
        return (surrogate.dampening * TABLE[surrogate.shape](s * v, q)) ** power * density(v)

    points = [low, high, 0.0, *(k / s for k in KINKS[surrogate.shape])]
    points += [sign * 4.0**k / s for k in range(-4, 8) for sign in (-1, 1)]
    points = sorted({p for p in points if low <= p <= high})
    return sum(
        integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=200)[0]
        for a, b in itertools.pairwise(points)
        if integrand((a + b) / 2) > 0
    )


# ------------------------------------------------------------------------------ normal form


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dampening", "sharpness", "tail"), [(1, 1, 2), (0.3, 2.5, 3.5), (4, 0.2, 1.2)]
)
def test_height_area_and_symmetry(shape, dampening, sharpness, tail):
    surrogate = Surrogate(shape, dampening, sharpness, tail)
    value = surrogate.derivative(GRID)
    assert surrogate.derivative(0.0) == near(dampening, rel=1e-15)
    assert value.max() <= dampening * (1 + 1e-15)
    assert value.min() >= 0
    torch.testing.assert_close(value, value.flip(0), rtol=1e-13, atol=0)
    # heavy tails: integrate far out and add the rest of the power law
    far = 1e6 / sharpness
    area = quadrature(surrogate, 1, lambda v: 1.0, -far, far)
    area += 2 * surrogate.primitive(-far)
    assert area == near(dampening / sharpness, rel=1e-9)
    assert surrogate.primitive(math.inf) == near(dampening / sharpness, rel=1e-15)
    assert surrogate.primitive(-math.inf) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_derivative_is_table_s1(shape):
    surrogate = Surrogate(shape, 0.7, 1.3, 2.6)
    expected = [0.7 * TABLE[shape](1.3 * v, 2.6) for v in GRID.tolist()]
    np.testing.assert_allclose(surrogate.derivative(GRID), expected, rtol=1e-12)


def test_tail_limits():
    v = GRID.float()
    fast, slow = Surrogate("fast_sigmoid"), Surrogate("q_pseudospike", tail=2.0)
    torch.testing.assert_close(slow.derivative(v), fast.derivative(v), rtol=1e-6, atol=0)
    torch.testing.assert_close(slow.primitive(v), fast.primitive(v), rtol=1e-6, atol=0)
    # single precision, where pow(1 + tiny, -1e6) would be off by percents
    steep = Surrogate("q_pseudospike", tail=1e6).derivative(v)
    torch.testing.assert_close(steep, Surrogate("exponential").derivative(v), rtol=1e-3, atol=1e-12)


# ------------------------------------------------------------------- derivative and primitive


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("sharpness", "tail"), [(1.0, 2.0), (2.5, 1.3), (0.5, 5.0)])
def test_derivative_is_slope_of_primitive(shape, sharpness, tail):
    surrogate = Surrogate(shape, 0.6, sharpness, tail)
    h = 1e-4
    v = away_from_kinks(surrogate, GRID, 2 * h)
    slope = (surrogate.primitive(v + h) - surrogate.primitive(v - h)) / (2 * h)
    # |error| <= h²/6 max|σ'''| + rounding; the largest curvature of σ' is that of the power law
    curvature = 0.6 * sharpness**2 * max(100.0, 4 * tail * (tail + 1) / (tail - 1) ** 2)
    torch.testing.assert_close(slope, surrogate.derivative(v), rtol=0, atol=h**2 / 6 * curvature)

    x = GRID.clone().requires_grad_()
    (auto,) = torch.autograd.grad(surrogate.primitive(x).sum(), x)
    inside = torch.ones_like(GRID, dtype=torch.bool)
    if shape == "rectangular":  # at a jump either side is right
        inside = ((GRID * sharpness).abs() - 0.5).abs() > 1e-12
    torch.testing.assert_close(
        auto[inside], surrogate.derivative(GRID)[inside], rtol=1e-9, atol=1e-15
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_slope_at_the_threshold_is_the_height(shape):
    v = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Surrogate(shape, 0.5, 3.0).primitive(v), v)
    assert slope.item() == near(0.5, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_primitive_lower_tail_keeps_relative_accuracy(shape):
    surrogate = Surrogate(shape, tail=1.5)
    for v in (-3.0, -9.0, -40.0):
        expected = {
            "exponential": math.exp(2 * v) / 2,
            "gaussian": math.erfc(-math.sqrt(math.pi) * v) / 2,
            "sigmoid": math.exp(4 * v) / (1 + math.exp(4 * v)),
            "fast_sigmoid": 0.5 / (1 - 2 * v),
            "arctan": math.atan(-1 / (math.pi * v)) / math.pi,
            "q_pseudospike": 0.5 * (1 - 4 * v) ** -0.5,
        }.get(shape, 0.0)
        assert surrogate.primitive(v) == near(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_second_derivative_through_derivative(shape):
    """∂σ'/∂v by autograd is the finite difference of σ' off the kinks; also the next order."""
    surrogate = Surrogate(shape, 0.8, 1.7, 2.4)
    v = away_from_kinks(surrogate, torch.linspace(-2, 2, 41, dtype=torch.float64), 1e-3)
    v.requires_grad_()
    assert torch.autograd.gradcheck(surrogate.derivative, v)
    assert torch.autograd.gradgradcheck(surrogate.derivative, v)
    assert torch.autograd.gradgradcheck(surrogate.primitive, v)


@pytest.mark.parametrize("shape", SMOOTH)
def test_smooth_shapes_have_all_derivatives_at_the_threshold(shape):
    """The curvature f''(0), which |v| inside a formula would turn into 0."""
    expected = {"gaussian": -2 * math.pi, "sigmoid": -8.0, "arctan": -2 * math.pi**2}[shape]
    slope = torch.func.grad(Surrogate(shape).derivative)
    value = torch.func.grad(slope)(torch.zeros((), dtype=torch.float64))
    assert value.item() == near(expected, rel=1e-12)
    assert torch.autograd.gradgradcheck(
        Surrogate(shape).derivative, torch.zeros(3, dtype=torch.float64, requires_grad=True)
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_functional_transforms(shape):
    surrogate = Surrogate(shape, 0.9, 1.2, 3.0)
    v = torch.linspace(-3, 3, 13, dtype=torch.float64) + 0.01
    for method in (surrogate.derivative, surrogate.primitive):
        whole = method(v)
        torch.testing.assert_close(torch.func.vmap(method)(v), whole, rtol=1e-13, atol=0)
        x = v.clone().requires_grad_()
        (expected,) = torch.autograd.grad(method(x).sum(), x)
        per_sample = torch.func.vmap(torch.func.grad(method))(v)
        torch.testing.assert_close(per_sample, expected, rtol=1e-13, atol=0)
        _, tangent = torch.func.jvp(method, (v,), (torch.ones_like(v),))
        torch.testing.assert_close(tangent, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_compiles_without_graph_break(shape):
    torch._dynamo.reset()  # else the shapes count as recompilations of one function
    surrogate = Surrogate(shape, 0.9, 1.2, 3.0)
    v = torch.linspace(-3, 3, 13)
    for method in (surrogate.derivative, surrogate.primitive):
        compiled = torch.compile(method, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(v), method(v))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(shape, dtype):
    surrogate = Surrogate(shape, 0.5, 2.0, 2.5)
    v = torch.tensor([-3e4, -7.0, -0.3, -0.1, 0.0, 0.2, 0.4, 1.5, 3e4], dtype=dtype)
    tolerance = 8 * torch.finfo(dtype).eps
    for method in (surrogate.derivative, surrogate.primitive):
        value = method(v)
        assert value.dtype == dtype
        torch.testing.assert_close(
            value.double(), method(v.double()), rtol=4 * tolerance, atol=tolerance
        )
        x = v.clone().requires_grad_()
        (slope,) = torch.autograd.grad(method(x).sum(), x)
        assert slope.isfinite().all()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert method(v).dtype == dtype


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_place_it_is_the_same_bit_by_bit(shape, dtype):
    surrogate = Surrogate(shape, dampening=0.7, sharpness=1.3, tail=2.5)
    v = 2 * torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=dtype)
    v[:3] = torch.tensor([0.0, 0.5 / 1.3, -1 / 1.3], dtype=dtype)  # threshold and corners
    wanted, place = surrogate.derivative(v), v.data_ptr()
    found = surrogate.derivative_(v)
    assert torch.equal(found, wanted) and found.data_ptr() == place
    with pytest.raises(
        ValueError, match=r"v must be a float32 or float64 tensor, got torch\.bfloat16"
    ):
        surrogate.derivative_(v.bfloat16())
    with pytest.raises(ValueError, match="tensor, got float"):
        surrogate.derivative_(1.0)
    with pytest.raises(ValueError, match="must not require a gradient"):
        surrogate.derivative_(v.requires_grad_())


def test_numbers_and_arrays():
    surrogate = Surrogate("triangular", 0.5)
    assert surrogate.derivative(0.5) == 0.25
    assert isinstance(surrogate.derivative(0.5), float)
    assert isinstance(surrogate.derivative(1), float)
    array = np.array([[0.0, 0.5]], dtype=np.float32)
    value = surrogate.derivative(array)
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, [[0.5, 0.25]])
    assert surrogate.primitive(np.zeros(3)[::-1]).tolist() == [0.25] * 3
    assert isinstance(surrogate.primitive(np.float64(0.0)), float)


def test_is_a_value():
    surrogate = Surrogate("gaussian", 1, 2)
    assert surrogate == Surrogate("gaussian", 1.0, 2.0)
    assert {surrogate: 1}[Surrogate("gaussian", sharpness=2.0)] == 1
    assert pickle.loads(pickle.dumps(surrogate)) == surrogate
    assert copy.deepcopy(surrogate) == surrogate
    with pytest.raises(AttributeError):
        surrogate.sharpness = 3.0
    assert Surrogate() == Surrogate("arctan", 1.0, 1.0, 2.0)


# ------------------------------------------------------------------------------------ moments


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [1, 2, 2.5, 4])
@pytest.mark.parametrize(("low", "high"), [(-4.0, 7.0), (1.5, 3.0), (-2.0, 0.9), (0.99, 1.02)])
def test_uniform_moments(shape, order, low, high):
    surrogate, threshold = Surrogate(shape, 0.8, 1.6, 2.3), 1.0
    expected = quadrature(
        surrogate, order, lambda v: 1 / (high - low), low - threshold, high - threshold
    )
    value = surrogate.moment(order, threshold, law="uniform", bounds=(low, high))
    assert value == near(expected, rel=1e-9)
    mean, std = (low + high) / 2, (high - low) / math.sqrt(12)
    assert surrogate.moment(order, threshold, mean, std, law="uniform") == near(expected, rel=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [1, 2, 3.5])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.0, 0.02), (-0.7, 40.0), (8.0, 1.5)])
def test_gaussian_moments(shape, order, mean, std):
    surrogate, threshold = Surrogate(shape, 0.8, 1.6, 2.3), 1.0
    law = stats.norm(mean - threshold, std)
    low, high = law.mean() - 38 * std, law.mean() + 38 * std
    steps = np.linspace(low, high, 39)  # the density's own scale, for scipy's adaptive rule
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", integrate.IntegrationWarning)
        expected = sum(
            quadrature(surrogate, order, law.pdf, a, b) for a, b in itertools.pairwise(steps)
        )
    value = surrogate.moment(order, threshold, mean, std)
    assert value == near(expected, rel=1e-8)


def test_gaussian_moments_far_from_the_threshold():
    """The closed forms where their terms nearly cancel, against the leading exponential."""
    assert Surrogate("exponential").moment(1, 0.0, 25.0, 0.6) == near(
        math.exp(2 * 0.36 - 50), rel=1e-12
    )
    assert Surrogate("sigmoid").moment(2, 0.0, 25.0, 0.6) == near(
        16 * math.exp(32 * 0.36 - 200), rel=1e-9
    )
    wide = Surrogate("triangular").moment(2, 0.0, 0.0, 1e4)
    assert wide == near(2 / 3 / (1e4 * math.sqrt(2 * math.pi)), rel=1e-7)
    narrow = Surrogate("arctan").moment(2, 0.0, 0.0, 1e-5)
    assert narrow == near(1 - 2 * math.pi**2 * 1e-10, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_moments_against_monte_carlo(shape, law):
    """Sample mean of σ'^m over 1 000 000 potentials.

    Standard error from the law's own moment of order 2m; critical value 5.5 (false alarm
    4e-8 per entry, two entries a test); a relative error of 7.8 standard errors is caught with
    probability 0.99, and that is asserted to be below 2 %.
    """
    generator = torch.Generator().manual_seed(20240)
    n, threshold, mean, std = 1_000_000, 1.0, 0.4, 0.9
    draw = torch.empty(n, dtype=torch.float64)
    if law == "gaussian":
        draw.normal_(generator=generator)
    else:
        draw.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
    surrogate = Surrogate(shape, 0.7, 1.4, 2.5)
    value = surrogate.derivative(mean + std * draw - threshold)
    for m in (1, 2):
        predicted = surrogate.moment(m, threshold, mean, std, law=law)
        variance = surrogate.moment(2 * m, threshold, mean, std, law=law) - predicted**2
        error = math.sqrt(variance / n)
        assert abs((value**m).mean().item() - predicted) < 5.5 * error
        assert 7.8 * error / predicted < 0.02


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_scaling_laws(shape, order):
    """E[σ'^m] is γ^m times a function of s(u - θ); under a wide uniform law it is ~ γ^m/s."""
    one = Surrogate(shape, tail=2.2)
    both = Surrogate(shape, 0.3, 2.5, tail=2.2)
    for law in ("gaussian", "uniform"):
        scaled = one.moment(order, 2.5 * 0.8, 2.5 * 0.1, 2.5 * 0.6, law=law)
        assert both.moment(order, 0.8, 0.1, 0.6, law=law) == near(0.3**order * scaled, rel=1e-9)
    bounds = (-1e9, 1e9)
    wide = one.moment(order, 0.0, law="uniform", bounds=bounds)
    assert both.moment(order, 0.0, law="uniform", bounds=bounds) == near(
        0.3**order / 2.5 * wide, rel=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_area_of_the_square(shape):
    expected = SQUARE_AREA.get(shape, (3.0 - 1) / (2 * 3.0 - 1))
    wide = Surrogate(shape, tail=3.0).moment(2, 0.0, law="uniform", bounds=(-1e8, 1e8))
    assert wide * 2e8 == near(expected, rel=1e-7)


def test_moments_broadcast():
    surrogate = Surrogate("sigmoid", sharpness=2.0)
    threshold = np.array([[0.0], [0.5], [1.0]])
    std = torch.tensor([0.5, 1.0])
    for law in ("gaussian", "uniform"):
        value = surrogate.moment(2, threshold, 0.1, std, law=law)
        assert value.shape == (3, 2)
        for i, j in np.ndindex(3, 2):
            single = surrogate.moment(2, float(threshold[i, 0]), 0.1, float(std[j]), law=law)
            assert isinstance(single, float)
            assert value[i, j] == near(single, rel=1e-12)


# ---------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "boxcar"}, "shape must be one of triangular, .*q_pseudospike; got 'boxcar'"),
        ({"dampening": 0.0}, "dampening must be a finite number > 0, got 0.0"),
        ({"dampening": math.inf}, "dampening"),
        ({"sharpness": -1}, "sharpness must be a finite number > 0, got -1"),
        ({"sharpness": math.nan}, "sharpness"),
        ({"sharpness": "2"}, "sharpness"),
        ({"sharpness": True}, "sharpness"),
        ({"tail": 1.0}, "tail must be a finite number > 1, got 1.0"),
    ],
)
def test_bad_surrogate(settings, message):
    with pytest.raises(ValueError, match=message):
        Surrogate(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 0.5}, "order must be >= 1, got 0.5"),
        ({"order": -1}, "order"),
        ({"order": math.nan}, "order"),
        ({"threshold": math.nan}, "threshold must be finite"),
        ({"mean": [0.0, math.inf]}, "mean must be finite"),
        ({"std": 0.0}, "std must be > 0, got 0.0"),
        ({"std": [1.0, -1.0]}, "std must be > 0"),
        ({"law": "cauchy"}, "law must be 'gaussian' or 'uniform', got 'cauchy'"),
        ({"bounds": (0.0, 1.0)}, "bounds belong to law='uniform'"),
        ({"law": "uniform", "bounds": (1.0, 1.0)}, "a < b"),
        ({"law": "uniform", "bounds": (0.0, 1.0), "mean": 0.5}, "bounds replace mean and std"),
    ],
)
def test_bad_moment(arguments, message):
    with pytest.raises(ValueError, match=message):
        Surrogate().moment(**{"order": 2, "threshold": 1.0, **arguments})


def test_integer_tensor_is_refused():
    for method in (Surrogate().derivative, Surrogate().primitive):
        with pytest.raises(
            ValueError, match=r"v must be a floating-point tensor, got torch\.int64"
        ):
            method(torch.arange(3))


def test_bad_library_form():
    with pytest.raises(ValueError, match=r"name must be one of snntorch\.atan"):
        from_library("snntorch.boxcar")
    with pytest.raises(ValueError, match=r"settings of snntorch\.atan are alpha"):
        from_library("snntorch.atan", slope=2.0)
    with pytest.raises(ValueError, match=r"settings of norse\.tanh are alpha"):
        from_library("norse.tanh")
    with pytest.raises(ValueError, match="alpha must be a finite number > 0"):
        from_library("snntorch.atan", alpha=-2.0)


# ---------------------------------------------------------------------------- other libraries


def foreign(name: str, settings: dict[str, float]):
    """The other library's spike function of v = u - θ, or skip."""
    library, surrogate = name.split(".")
    if library == "snntorch":
        module = pytest.importorskip("snntorch.surrogate")
        return getattr(module, surrogate)(**settings)
    if library == "spikingjelly":
        module = pytest.importorskip("spikingjelly.activation_based.surrogate")
        return getattr(module, surrogate)(**settings)
    pytest.importorskip("norse.torch")
    module = importlib.import_module("norse.torch.functional.threshold")
    if not settings:
        return {"super": module.superspike_fn, "triangle": module.triangle_fn}[surrogate]
    return lambda v: module.threshold(v, surrogate, settings["alpha"])


def slope_of(function, v: torch.Tensor) -> torch.Tensor:
    v = v.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(v).sum(), v)
    return slope


NO_DEFAULT = ("norse.tanh", "norse.heavi_erfc")


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for n in LIBRARY_NAMES for v in (None, 1.7, 3.0) if v or n not in NO_DEFAULT],
)
def test_library_forms(name, value):
    setting = "slope" if name in ("snntorch.fast_sigmoid", "snntorch.sigmoid") else "alpha"
    settings = {} if value is None else {setting: value}
    v = torch.linspace(-2, 2, 401, dtype=torch.float64) + 1e-3
    theirs = slope_of(foreign(name, settings), v)
    ours = from_library(name, **settings).derivative(v)
    torch.testing.assert_close(theirs.double(), ours, rtol=1e-5, atol=1e-9)


def test_snntorch_atan_docstring_has_another_height_than_its_code():
    pytest.importorskip("snntorch")
    v = torch.linspace(-2, 2, 101, dtype=torch.float64)
    documented = 1 / math.pi / (1 + (math.pi * v * 2.0 / 2) ** 2)  # α = 2, the default
    coded = slope_of(foreign("snntorch.atan", {"alpha": 2.0}), v)
    torch.testing.assert_close(coded, math.pi * documented, rtol=1e-6, atol=0)


def test_snntorch_sigmoid_is_nan_far_below_the_threshold():
    """exp(-25 v) overflows at v = -3.55; the normal form does not."""
    pytest.importorskip("snntorch")
    v = torch.tensor([-4.0, 4.0])
    assert slope_of(foreign("snntorch.sigmoid", {}), v).isnan().tolist() == [True, False]
    assert from_library("snntorch.sigmoid").derivative(v).isfinite().all()


def test_snntorch_triangular_is_no_triangle():
    """Its backward is +threshold below and -threshold above the threshold, at any distance."""
    module = pytest.importorskip("snntorch.surrogate")
    v = torch.tensor([-5.0, -0.1, 0.1, 5.0])
    assert slope_of(module.triangular(2.0), v).tolist() == [2.0, 2.0, -2.0, -2.0]


def test_norse_super_ignores_its_steepness():
    pytest.importorskip("norse.torch")
    v = torch.linspace(-2, 2, 11)
    one, other = (slope_of(foreign("norse.super", {"alpha": a}), v) for a in (1.0, 100.0))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_norse_circ_in_no_shape_of_ours():
    """σ' = (1 + (v/α)²)^(-3/2): twice α times the slope of its documented step."""
    pytest.importorskip("norse.torch")
    v = torch.linspace(-2, 2, 11, dtype=torch.float64)
    coded = slope_of(foreign("norse.circ", {"alpha": 0.7}), v)
    torch.testing.assert_close(coded, (1 + (v / 0.7) ** 2) ** -1.5, rtol=1e-12, atol=0)
