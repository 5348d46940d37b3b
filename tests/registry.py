"""Small instances of every component. A new component's test is a row in one of these lists.

Energies are tiny and well conditioned, so that the whole grid (energy x solver x estimator) runs in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilearn.coarse_map import CoarseMap, Filling
from bilearn.energy import Energy
from bilearn.fidelities import Fidelity, Huber, KullbackLeibler, LeastSquares, PoissonGaussian, PseudoHuber, StudentT
from bilearn.hypergradient import (
    BalancedHypergradient,
    EquilibriumHypergradient,
    FiniteDifferences,
    HypergradientEstimator,
    ImplicitHypergradient,
    Neumann,
    OneStep,
    SingleLoop,
    TangentHypergradient,
    Unrolled,
    ValueFunctionPenalty,
    ZerothOrder,
)
from bilearn.interop import PriorRegularizer
from bilearn.linear_systems import ConjugateGradient, Minres
from bilearn.lower.anderson import Anderson
from bilearn.lower.broyden import Broyden
from bilearn.lower.closed_form import ClosedForm
from bilearn.lower.gradient_descent import GradientDescent
from bilearn.lower.lbfgs import LBFGS
from bilearn.lower.mixed_precision import MixedPrecision
from bilearn.lower.nesterov import NesterovGradient
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver
from bilearn.mri import FreePattern, Linear, Odds, Share, Square, Weighting, birdcage_maps, sampling_energy
from bilearn.mri.patterns import (
    CenteredPattern,
    LinePattern,
    ProbabilisticPattern,
    ProductPattern,
    RadialPattern,
    SymmetricPattern,
    TrajectoryPattern,
    center_block,
    center_lines,
)
from bilearn.operators import ForwardOperator, FourierBlur, Mask, MatrixOperator
from bilearn.problem import LowerProblem
from bilearn.regularizers import (
    AbsoluteResponse,
    CubicAbsolute,
    DirectionalTV,
    FieldsOfExperts,
    FilterChain,
    InputConvexNetwork,
    LogCoshResponse,
    NetworkRegularizer,
    PatchNetwork,
    Regularizer,
    ResponsePotential,
    RidgeRegularizer,
    SmoothedTV,
    SpaceVariantTV,
    SplineResponse,
    SquaredH1,
    Sum,
    Tikhonov,
    WaveletSparsity,
    random_filters,
    random_layers,
)
from bilearn.upper import (
    DFOLS,
    HOAG,
    LBFGSB,
    MAID,
    BayesianSearch,
    Fixed,
    GaussNewton,
    GridSearch,
    ProjectedGradient,
    ProjectedLBFGS,
    PyBOBYQA,
    RandomSearch,
    ScheduledGradient,
    TorchOptimizer,
    UpperOptimizer,
)
from bilearn.variational import VariationalEnergy

IMAGE = (1, 7, 6)
SMALL = (1, 3, 3)
COLOR = (2, 5, 4)
EVEN = (2, 4, 6)
SIGNAL = (9,)
BATCH = 2


def rand(shape: tuple[int, ...], seed: int) -> Tensor:
    """Uniform numbers in [0, 1], float64."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True)
class EnergyCase:
    """An energy, its data, and what its reconstructions are compared with.

    Attributes:
        name: label of the test.
        make: builds a fresh energy in float64.
        shape: of one image.
        convex: whether a unique minimizer is certain (a positive strong convexity constant may still be undeclared).
        grid: whether the case takes part in the grid of solvers and estimators (one case a feature does).
    """

    name: str
    make: Callable[[], Energy]
    shape: tuple[int, ...] = IMAGE
    convex: bool = True
    grid: bool = False

    def point(self) -> Tensor:
        """A point that is neither data nor minimizer."""
        return rand((BATCH, *self.shape), 1)

    def target(self) -> Tensor:
        """True images."""
        return rand((BATCH, *self.shape), 2).round()

    def data(self, energy: Energy) -> Tensor:
        """Noisy data of the true images through the energy's own operator."""
        clean = operator_of(energy).A(self.target())
        return (clean + 0.2 * rand(tuple(clean.shape), 3) - 0.1).abs()


class _Plain(nn.Module):
    """Identity, for energies without an operator."""

    def A(self, x: Tensor) -> Tensor:
        return x


def operator_of(energy: Energy) -> ForwardOperator | _Plain:
    """The energy's forward operator."""
    return energy.operator if isinstance(energy, VariationalEnergy) else _Plain()


class UserEnergy(Energy):
    """What a user writes: only ``forward``; everything else comes from autograd, nothing is known of the curvature."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.3, 0.5], dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rough = torch.log(torch.cosh(2 * (x[..., 1:] - x[..., :-1])))
        return 0.5 * (x - y).square().flatten(1).sum(1) + self.weights[0].exp() * (
            rough.flatten(1).sum(1) + self.weights[1] * torch.sqrt(1 + x.square()).flatten(1).sum(1)
        )


def mask() -> Mask:
    """Soft inpainting mask with missing pixels."""
    keep = (rand((1, *IMAGE), 4) > 0.3).double()
    return Mask(keep * (0.5 + rand((1, *IMAGE), 5)))


def blur() -> FourierBlur:
    """3 x 3 circular blur of images."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 2.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    return FourierBlur(kernel / kernel.sum(), IMAGE[1:])


def color_blur() -> FourierBlur:
    """A circular blur with another kernel for each channel."""
    kernel = 0.2 * rand((2, 3, 3), 6)
    return FourierBlur(kernel, COLOR[1:])


def signal_blur() -> FourierBlur:
    """Circular blur of signals."""
    return FourierBlur(torch.tensor([0.2, 0.6, 0.3], dtype=torch.float64), SIGNAL)


def matrix(sparse: bool = True) -> MatrixOperator:
    """A projection-like operator with fewer data than pixels."""
    n = IMAGE[1] * IMAGE[2]
    dense = torch.where(rand((20, n), 7) > 0.8, 0.3 * rand((20, n), 8), torch.zeros(20, n, dtype=torch.float64))
    return MatrixOperator(dense.to_sparse_coo() if sparse else dense, IMAGE, (20,))


def tv(**options: object) -> SmoothedTV:
    """Smoothed TV with mild constants, overridden by ``options``."""
    values: dict[str, object] = {"alpha": 0.05, "xi": 0.3, "nu": 0.2, **options}
    return SmoothedTV(**values)  # type: ignore[arg-type]


def wavelets(**options: object) -> WaveletSparsity:
    """One level of wavelet sparsity with mild constants, overridden by ``options``."""
    values: dict[str, object] = {"alpha": 0.05, "xi": 0.3, "nu": 0.2, "wavelet": "db2", "levels": 1, **options}
    return WaveletSparsity(**values)  # type: ignore[arg-type]


def directional_tv(**options: object) -> DirectionalTV:
    """Directional TV of images shaped COLOR with mild constants, overridden by ``options``."""
    values: dict[str, object] = {"alpha": 0.05, "xi": 0.3, "nu": 0.2, "eta": 0.3, **options}
    return DirectionalTV(rand(COLOR[1:], 13), **values)  # type: ignore[arg-type]


def oriented_tv(**options: object) -> SpaceVariantTV:
    """Space-variant TV with mild constants and everything learned, overridden by ``options``."""
    values: dict[str, object] = {"alpha": 0.05, "angle": 0.7, "ratio": 0.4, "exponent": 1.3, "xi": 0.3, "nu": 0.2}
    return SpaceVariantTV(**{**values, "learn": tuple(values), **options})  # type: ignore[arg-type]


def experts(potential: ResponsePotential | None = None, **options: object) -> FieldsOfExperts:
    """Two 2 x 2 filters of weight 0.1 unless said otherwise."""
    values: dict[str, object] = {"weights": 0.1, **options}
    start = random_filters(2, 2, torch.Generator().manual_seed(14))
    return FieldsOfExperts(start, potential=potential, **values)  # type: ignore[arg-type]


def ridge(**options: object) -> RidgeRegularizer:
    """A small ridge regularizer with mild constants, overridden by ``options``."""
    values: dict[str, object] = {"weight": 0.3, "sharpness": 3.0, "gains": 3.0, **options}
    layers = random_layers((2, 2), 3, torch.Generator().manual_seed(15))
    return RidgeRegularizer(FilterChain(layers, learn=False), **values)  # type: ignore[arg-type]


def input_convex() -> NetworkRegularizer:
    """Two layers with two features; weight, scale and smoothing are learned."""
    network = InputConvexNetwork(1, 2, 2, 3, 0.3, torch.Generator().manual_seed(16))
    network.requires_grad_(False)
    network.activation.requires_grad_(True)
    return NetworkRegularizer(network, 0.3, 1.7, curvature=network.curvature)


def patch_network() -> NetworkRegularizer:
    """Patches of 3 x 3 pixels with two features; its weight and scale are learned."""
    network = PatchNetwork(1, 2, 1, 3, 0.3, torch.Generator().manual_seed(17))
    network.requires_grad_(False)
    return NetworkRegularizer(network, 0.3, 1.7, curvature=network.curvature)


def alpha_map(shape: tuple[int, ...]) -> Tensor:
    """Weights per pixel."""
    return 0.03 + 0.05 * rand(shape, 9)


def coarse(seed: int, shape: tuple[int, ...], low: float, filling: Filling = "linear") -> CoarseMap:
    """A map on IMAGE of few numbers between ``low`` and twice that."""
    return CoarseMap(low * (1 + rand(shape, seed)), IMAGE[1:], filling)


def prior() -> PriorRegularizer:
    """deepinv's smoothed TV as a regularizer, plus a ridge that makes the minimizer unique."""
    from deepinv.optim import SmoothedTVPrior

    return PriorRegularizer(SmoothedTVPrior(eps=0.3), 0.05)


def variational(
    fidelity: Callable[[], Fidelity],
    regularizer: Callable[[], Regularizer],
    operator: Callable[[], ForwardOperator] | None = None,
) -> Callable[[], Energy]:
    """Factory of a variational energy."""
    return lambda: VariationalEnergy(fidelity(), regularizer(), None if operator is None else operator())


def sampling(
    grid: tuple[int, ...], weighting: Weighting, regularizer: Callable[[], Regularizer], learn: bool = True
) -> Callable[[], Energy]:
    """Factory of a k-space energy whose pattern is free."""
    return lambda: sampling_energy(FreePattern(0.1 + 0.8 * rand(grid, 13), learn=learn), regularizer(), weighting)


def coils() -> Energy:
    """Two coils that share a pattern of columns around a fixed center."""
    maps = birdcage_maps(2, (4, 3)) * (1.0 + rand((1, 4, 3), 14))
    pattern = CenteredPattern(LinePattern(0.1 + 0.8 * rand((3,), 13), (4, 3)), center_lines((4, 3), 1))
    return sampling_energy(pattern, tv(coupled=True, xi=0.5, learn=("alpha",)), maps=maps)


def symmetric_points() -> Energy:
    """Symmetric points around a fixed zero frequency."""
    pattern = CenteredPattern(SymmetricPattern(FreePattern(0.1 + 0.8 * rand((4, 3), 13))), center_block((4, 3), (1, 1)))
    return sampling_energy(pattern, tv(coupled=True, xi=0.5, learn=()))


def radial() -> Energy:
    """Two spokes whose angles and degrees are learned, times rows."""
    spokes = RadialPattern(torch.tensor([0.4, 1.9]), (4, 3), 0.8, learn=("angles", "degrees"))
    rows = LinePattern(0.1 + 0.8 * rand((4,), 13), (4, 3), 0)
    return sampling_energy(ProductPattern(spokes, rows), tv(coupled=True, xi=0.5, learn=()))


def probable() -> Energy:
    """A random mask of points, the sigmoid in place of the step."""
    points = torch.arange(12).reshape(4, 3)
    pattern = ProbabilisticPattern(points, 5, rand((12,), 16), hard=False)
    return sampling_energy(pattern, tv(coupled=True, xi=0.5, learn=()), Linear())


def trajectory() -> Energy:
    """A curve of four control points."""
    pattern = TrajectoryPattern(rand((1, 4, 2), 15) - 0.5, (4, 3), 6)
    return sampling_energy(pattern, tv(coupled=True, xi=0.5, learn=()))


def _both() -> tuple[str, str]:
    return ("weight", "scale")


ENERGIES: list[EnergyCase] = [
    # fidelities, with a learned weight and scale where there is one
    EnergyCase("ls-tv", variational(LeastSquares, tv)),
    EnergyCase("ls_weight-tv", variational(lambda: LeastSquares(1.5, learn=True), tv)),
    EnergyCase(
        "ls_map-tikhonov",
        variational(lambda: LeastSquares(0.5 + rand((1, *SMALL), 10), learn=True), Tikhonov),
        SMALL,
        grid=True,
    ),
    EnergyCase("kl-tv", variational(lambda: KullbackLeibler(1.0, 0.7, learn=True), tv), grid=True),
    EnergyCase(
        "kl_map-h1",
        variational(lambda: KullbackLeibler(0.5, 0.5 + rand((1, *SMALL), 11)), lambda: Sum(SquaredH1(), Tikhonov())),
        SMALL,
    ),
    EnergyCase("huber-tv", variational(lambda: Huber(1.2, 0.15, learn=_both()), tv), grid=True),
    EnergyCase("huber_map-tv", variational(lambda: Huber(0.5 + rand((1, *SMALL), 12), 0.15, learn=_both()), tv), SMALL),
    EnergyCase("pseudohuber-tv", variational(lambda: PseudoHuber(1.2, 0.15, learn=_both()), tv), grid=True),
    EnergyCase("studentt-tv", variational(lambda: StudentT(0.6, 0.3, learn=_both()), lambda: tv(xi=0.2)), grid=True),
    EnergyCase(
        "studentt-nonconvex", variational(lambda: StudentT(2.0, 0.1, learn=_both()), lambda: tv(xi=0.01)), convex=False
    ),
    EnergyCase(
        "ls_coarse-tv_coarse",
        variational(
            lambda: LeastSquares(coarse(10, (1, 1, 3, 2), 0.5), learn=True),
            lambda: tv(alpha=coarse(9, (1, 1, 2, 2), 0.05, "patches")),
        ),
    ),
    EnergyCase(
        "kl_background-tv",
        variational(lambda: KullbackLeibler(1.0, coarse(10, (2, 2), 0.5), ("background", "weight")), tv),
    ),
    EnergyCase(
        "kl_background_map-h1",
        variational(
            lambda: KullbackLeibler(0.7 + rand((1, *SMALL), 11), learn=("background",)),
            lambda: Sum(SquaredH1(), Tikhonov()),
        ),
        SMALL,
    ),
    EnergyCase("pg-tv", variational(lambda: PoissonGaussian(0.7, 0.5, ("variance", "gain")), tv)),
    EnergyCase(
        "pg_coarse-mask-tv",
        variational(lambda: PoissonGaussian(coarse(10, (2, 2), 0.6), 0.5, ("variance", "gain")), tv, mask),
    ),
    EnergyCase(
        "huber_scale_map-tv",
        variational(lambda: Huber(1.2, 0.1 + 0.1 * rand((1, *SMALL), 12), learn=_both()), tv),
        SMALL,
    ),
    EnergyCase(
        "pseudohuber_coarse-tv",
        variational(lambda: PseudoHuber(1.2, coarse(10, (3, 3), 0.1), learn=_both()), tv),
    ),
    EnergyCase(
        "studentt_maps-tv",
        variational(
            lambda: StudentT(0.3 + 0.3 * rand((1, *SMALL), 10), 0.2 + 0.2 * rand((1, *SMALL), 11), learn=_both()),
            lambda: tv(xi=0.2),
        ),
        SMALL,
    ),
    EnergyCase(
        "studentt_coarse-tv",
        variational(lambda: StudentT(0.6, coarse(10, (1, 1, 2, 2), 0.3), learn=_both()), lambda: tv(xi=0.2)),
    ),
    # operators
    EnergyCase("ls-mask-tv", variational(LeastSquares, tv, mask), grid=True),
    EnergyCase("ls-blur-tv", variational(LeastSquares, tv, blur)),
    EnergyCase("ls-matrix-tv", variational(LeastSquares, tv, matrix), grid=True),
    EnergyCase("ls-dense_matrix-tv", variational(LeastSquares, tv, lambda: matrix(sparse=False))),
    EnergyCase("kl-blur-tv", variational(lambda: KullbackLeibler(0.5, learn=True), tv, blur)),
    EnergyCase("kl-matrix-tv", variational(lambda: KullbackLeibler(2.0, learn=True), tv, matrix)),
    EnergyCase("huber-mask-h1", variational(lambda: Huber(1.0, 0.15), lambda: Sum(SquaredH1(), Tikhonov()), mask)),
    EnergyCase("huber-matrix-tv", variational(lambda: Huber(1.0, 0.3, learn=_both()), tv, matrix)),
    EnergyCase("pseudohuber-blur-tv", variational(lambda: PseudoHuber(1.0, 0.3, learn=_both()), tv, blur)),
    EnergyCase("studentt-blur-tv", variational(lambda: StudentT(0.5, 0.3, learn=_both()), lambda: tv(xi=0.3), blur)),
    EnergyCase("studentt-mask-tv", variational(lambda: StudentT(0.5, 0.3, learn=_both()), lambda: tv(xi=0.4), mask)),
    EnergyCase("ls-color_blur-tv", variational(LeastSquares, tv, color_blur), COLOR),
    EnergyCase("ls-color_blur-coupled_tv", variational(LeastSquares, lambda: tv(coupled=True), color_blur), COLOR),
    EnergyCase("ls-signal_blur-tv", variational(LeastSquares, lambda: tv(axes=1), signal_blur), SIGNAL),
    # regularizers
    EnergyCase("ls-tikhonov", variational(LeastSquares, Tikhonov)),
    EnergyCase("ls-tikhonov_map", variational(LeastSquares, lambda: Tikhonov(alpha_map((1, *SMALL)))), SMALL),
    EnergyCase("ls-h1", variational(LeastSquares, SquaredH1)),
    EnergyCase(
        "ls-blur-h1",
        variational(LeastSquares, lambda: Sum(SquaredH1(boundary="periodic"), Tikhonov()), blur),
        grid=True,
    ),
    EnergyCase("ls-h1_map", variational(LeastSquares, lambda: SquaredH1(alpha_map((1, *SMALL)))), SMALL),
    EnergyCase("ls-tv_anisotropic", variational(LeastSquares, lambda: tv(isotropic=False))),
    EnergyCase("ls-tv_bracket", variational(LeastSquares, lambda: tv(bracket=True, xi=0.8)), grid=True),
    EnergyCase("ls-tv_map", variational(LeastSquares, lambda: tv(alpha=alpha_map((1, *SMALL)))), SMALL, grid=True),
    EnergyCase(
        "ls-tv_map_bracket",
        variational(LeastSquares, lambda: tv(alpha=alpha_map((1, *SMALL)), bracket=True, xi=0.8)),
        SMALL,
    ),
    EnergyCase(
        "ls-tv_map_anisotropic",
        variational(LeastSquares, lambda: tv(alpha=alpha_map((1, *SMALL)), isotropic=False)),
        SMALL,
    ),
    EnergyCase("ls-tv_shared_map", variational(LeastSquares, lambda: tv(alpha=alpha_map((1, 1, *COLOR[1:])))), COLOR),
    EnergyCase(
        "ls-tv_shared_map_coupled",
        variational(LeastSquares, lambda: tv(alpha=alpha_map((1, 1, *COLOR[1:])), coupled=True)),
        COLOR,
    ),
    EnergyCase("ls-tv_channel_weights", variational(LeastSquares, lambda: tv(alpha=alpha_map((2, 1, 1)))), COLOR),
    EnergyCase(
        "ls-tv_one_entry", variational(LeastSquares, lambda: tv(alpha=torch.tensor([0.05], dtype=torch.float64)))
    ),
    EnergyCase("ls-tv_coupled", variational(LeastSquares, lambda: tv(coupled=True)), COLOR, grid=True),
    EnergyCase(
        "ls-tv_coupled_anisotropic", variational(LeastSquares, lambda: tv(coupled=True, isotropic=False)), COLOR
    ),
    EnergyCase("ls-tv_fixed_nu", variational(LeastSquares, lambda: tv(learn=("alpha",)))),
    EnergyCase("ls-tv_fixed", variational(lambda: LeastSquares(learn=True), lambda: tv(learn=()))),
    EnergyCase(
        "ls-sum",
        variational(LeastSquares, lambda: Sum(tv(isotropic=False), SquaredH1(0.05), Tikhonov(0.02))),
        grid=True,
    ),
    EnergyCase("ls-prior", variational(LeastSquares, lambda: Sum(prior(), Tikhonov(0.1))), grid=True),
    EnergyCase("ls-tv_cubic", variational(LeastSquares, lambda: tv(potential=CubicAbsolute())), grid=True),
    EnergyCase(
        "ls-tv_cubic_coupled", variational(LeastSquares, lambda: tv(potential=CubicAbsolute(), coupled=True)), COLOR
    ),
    EnergyCase("ls-wavelets", variational(LeastSquares, wavelets), EVEN),
    EnergyCase(
        "ls-wavelets_details_coupled",
        variational(LeastSquares, lambda: wavelets(penalize_coarse=False, coupled=True)),
        EVEN,
        grid=True,
    ),
    EnergyCase("ls-wavelets_cubic", variational(LeastSquares, lambda: wavelets(potential=CubicAbsolute())), EVEN),
    EnergyCase(
        "ls-wavelets_map", variational(LeastSquares, lambda: wavelets(alpha=alpha_map((1, 1, *EVEN[1:])))), EVEN
    ),
    EnergyCase("ls-wavelets_signal", variational(LeastSquares, lambda: wavelets(axes=1, levels=2)), (2, 8)),
    EnergyCase(
        "ls-directional_tv_coupled", variational(LeastSquares, lambda: directional_tv(coupled=True)), COLOR, grid=True
    ),
    EnergyCase(
        "ls-directional_tv_cubic", variational(LeastSquares, lambda: directional_tv(potential=CubicAbsolute())), COLOR
    ),
    EnergyCase("ls-oriented_tv", variational(LeastSquares, oriented_tv), grid=True),
    EnergyCase(
        "ls-oriented_tv_maps",
        variational(
            LeastSquares,
            lambda: oriented_tv(
                alpha=alpha_map((1, 1, *SMALL[1:])),
                angle=3 * rand((3, 3), 16),
                exponent=1 + rand((3, 3), 17),
                learn=("angle",),
            ),
        ),
        SMALL,
    ),
    EnergyCase(
        "ls-blur-oriented_tv_coarse",
        variational(
            LeastSquares,
            lambda: oriented_tv(
                alpha=coarse(9, (1, 2), 0.05, "patches"),
                angle=coarse(16, (2, 2), 0.8),
                ratio=coarse(17, (2, 1), 0.4),
                exponent=coarse(18, (1, 2), 1.0),
                boundary="periodic",
            ),
            blur,
        ),
    ),
    EnergyCase(
        "ls-oriented_tv_coupled", variational(LeastSquares, lambda: oriented_tv(coupled=True, exponent=1.0)), COLOR
    ),
    EnergyCase(
        "ls-oriented_tv_quadratic",
        variational(LeastSquares, lambda: oriented_tv(exponent=2.0, nu=0.01, learn=("alpha", "angle", "ratio", "nu"))),
        COLOR,
    ),
    EnergyCase(
        "ls-oriented_tv_nonconvex",
        variational(
            LeastSquares, lambda: oriented_tv(exponent=0.6, bounds={"exponent": (0.1, 2.0)}, direction="forward")
        ),
        convex=False,
    ),
    EnergyCase("ls-tv_volume", variational(LeastSquares, lambda: tv(axes=3)), (1, 3, 4, 3)),
    # filters
    EnergyCase("ls-experts_student", variational(LeastSquares, experts), grid=True),
    EnergyCase("ls-experts_student_nonconvex", variational(LeastSquares, lambda: experts(weights=8.0)), convex=False),
    EnergyCase("ls-experts_log_cosh", variational(LeastSquares, lambda: experts(LogCoshResponse())), COLOR),
    EnergyCase("ls-blur-experts_absolute", variational(LeastSquares, lambda: experts(AbsoluteResponse(2, 0.2)), blur)),
    EnergyCase(
        "ls-experts_spline",
        variational(LeastSquares, lambda: experts(SplineResponse(2, 4, bounds=(-0.2, 2.0), degree=2))),
        grid=True,
    ),
    EnergyCase("ls-ridge", variational(LeastSquares, ridge), COLOR),
    EnergyCase("ls-mask-ridge_weak", variational(LeastSquares, lambda: ridge(weak=1.0), mask), convex=False),
    EnergyCase("ls-ridge_weak", variational(LeastSquares, lambda: ridge(weak=1.0))),
    EnergyCase("ls-experts_linear_spline", variational(LeastSquares, lambda: experts(SplineResponse(2, 4)))),
    # networks
    EnergyCase("ls-icnn", variational(LeastSquares, input_convex)),
    EnergyCase("ls-blur-patch_network", variational(LeastSquares, patch_network, blur), convex=False),
    # signals: plain (B, n) and with channels (B, C, n)
    EnergyCase("ls-tv_signal", variational(LeastSquares, lambda: tv(axes=1)), SIGNAL, grid=True),
    EnergyCase("ls-tv_signal_channels", variational(LeastSquares, lambda: tv(axes=1)), (2, *SIGNAL)),
    EnergyCase("ls-tv_signal_coupled", variational(LeastSquares, lambda: tv(axes=1, coupled=True)), (2, *SIGNAL)),
    EnergyCase("ls-h1_signal", variational(LeastSquares, lambda: SquaredH1(axes=1)), SIGNAL),
    EnergyCase("huber-tv_signal", variational(lambda: Huber(1.0, 0.15, learn=_both()), lambda: tv(axes=1)), SIGNAL),
    # k-space: complex images in two channels
    EnergyCase(
        "kspace_square-tv_signal",
        sampling(SIGNAL, Square(), lambda: tv(axes=1, coupled=True, boundary="dirichlet", learn=())),
        (2, *SIGNAL),
        grid=True,
    ),
    EnergyCase("kspace_share-tv", sampling((4, 3), Share(9.0), lambda: tv(coupled=True, xi=0.5, learn=())), (2, 4, 3)),
    EnergyCase("kspace_odds-tv", sampling((4, 3), Odds(), lambda: tv(coupled=True, xi=0.5, learn=())), (2, 4, 3)),
    EnergyCase("kspace_coils-tv", coils, (2, 4, 3)),
    EnergyCase("kspace_symmetric-tv", symmetric_points, (2, 4, 3)),
    EnergyCase("kspace_radial-tv", radial, (2, 4, 3)),
    EnergyCase("kspace_trajectory-tv", trajectory, (2, 4, 3)),
    EnergyCase("kspace_probable-tv", probable, (2, 4, 3)),
    EnergyCase("kspace_linear-tv", sampling((5, 4), Linear(), lambda: tv(coupled=True)), COLOR),
    EnergyCase(
        "kspace_linear-h1",
        sampling((3, 2), Linear(), lambda: Sum(SquaredH1(boundary="periodic"), Tikhonov())),
        (2, 3, 2),
        grid=True,
    ),
    EnergyCase("kspace_fixed-tv", sampling((5, 4), Square(), lambda: tv(coupled=True), learn=False), COLOR),
    # an energy of the user's own
    EnergyCase("user", UserEnergy, grid=True),
]
ENERGIES += [
    EnergyCase(
        f"ls-tv_{boundary}_{direction}_{len(shape)}d",
        variational(
            LeastSquares,
            lambda b=boundary, d=direction, s=shape: tv(boundary=b, direction=d, axes=2 if len(s) > 1 else 1),
        ),
        shape,
    )
    for boundary in ("neumann", "dirichlet", "periodic")
    for direction in ("backward", "forward")
    for shape in (IMAGE, SIGNAL)
]


def grid_energies() -> Iterator[EnergyCase]:
    """Energies of the grid over solvers and estimators."""
    return (case for case in ENERGIES if case.grid)


SOLVERS: list[LowerSolver] = [
    GradientDescent(),
    NesterovGradient(),
    LBFGS(),
    NewtonCG(),
    ClosedForm(),
    Anderson(),
    Broyden(),
    MixedPrecision(NewtonCG()),
]


def runs(solver: LowerSolver, energy: Energy, y: Tensor) -> bool:
    """Whether the method declares that it can run on this energy."""
    try:
        solver.check(LowerProblem(energy, y, energy.curvature(y)))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class EstimatorCase:
    """An estimator and what it can promise.

    Attributes:
        name: label of the test.
        make: builds it.
        needs_smoothness: whether it runs only where L is known.
        few: whether it runs only on a handful of parameters.
        uses_solver: whether the grid tries it with every lower-level solver, not with the default one only.
        adapts: whether it works to a requested accuracy; the others ignore it.
        exact: whether it agrees with central differences; the others are biased by design.
    """

    name: str
    make: Callable[[], HypergradientEstimator]
    needs_smoothness: bool = False
    few: bool = False
    uses_solver: bool = True
    adapts: bool = True
    exact: bool = True


ESTIMATORS: list[EstimatorCase] = [
    EstimatorCase("implicit_cg", lambda: ImplicitHypergradient(linear=ConjugateGradient(), fallback=1e-11)),
    EstimatorCase("implicit_minres", lambda: ImplicitHypergradient(linear=Minres(), fallback=1e-11)),
    EstimatorCase("balanced", lambda: BalancedHypergradient(), uses_solver=False),
    EstimatorCase("tangent", lambda: TangentHypergradient(fallback=1e-11), few=True),
    EstimatorCase("finite_differences", lambda: FiniteDifferences(), few=True, adapts=False),
    EstimatorCase("unrolled", lambda: Unrolled(steps=150), True, uses_solver=False, adapts=False),
    EstimatorCase(
        "unrolled_nesterov", lambda: Unrolled(steps=130, method="nesterov"), True, uses_solver=False, adapts=False
    ),
    EstimatorCase(
        "unrolled_truncated", lambda: Unrolled(steps=200, truncate=120), True, uses_solver=False, adapts=False
    ),
    EstimatorCase("one_step", lambda: OneStep(), needs_smoothness=True, exact=False),
    EstimatorCase("equilibrium", lambda: EquilibriumHypergradient(fallback=1e-11), uses_solver=False),
    EstimatorCase("single_loop", lambda: SingleLoop(steps=3), True, uses_solver=False, adapts=False, exact=False),
    EstimatorCase("neumann", lambda: Neumann(terms=6), needs_smoothness=True, uses_solver=False, exact=False),
    EstimatorCase(
        "value_function_penalty", lambda: ValueFunctionPenalty(), uses_solver=False, adapts=False, exact=False
    ),
    EstimatorCase(
        "zeroth_order",
        lambda: ZerothOrder(directions=1, distribution="sphere"),
        uses_solver=False,
        adapts=False,
        exact=False,
    ),
]

OPTIMIZERS: list[UpperOptimizer] = [
    GaussNewton(),
    GaussNewton(second_order=False),
    LBFGSB(),
    MAID(),
    HOAG(),
    ProjectedGradient(),
    ProjectedLBFGS(),
    ScheduledGradient(Fixed(0.03)),
    DFOLS(),
    PyBOBYQA(),
]

TORCH_OPTIMIZERS: list[UpperOptimizer] = [
    TorchOptimizer(lambda parameters: torch.optim.Adam(parameters, lr=0.2)),
    TorchOptimizer(lambda parameters: torch.optim.SGD(parameters, lr=0.01)),
]

SEARCHES: list[UpperOptimizer] = [GridSearch(9), RandomSearch(40), BayesianSearch(25)]
