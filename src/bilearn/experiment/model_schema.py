"""The typed configuration of fidelities, regularizers, losses and penalties."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bilearn.experiment.data_schema import Number, Parameter, Section, learned
from bilearn.experiment.network_schema import (
    DifferenceConfig,
    InputConvexConfig,
    PatchNetworkConfig,
    TotalDeepVariationConfig,
)


class LeastSquaresConfig(Section):
    """weight/2 |A x - y|^2, for Gaussian noise."""

    kind: Literal["least-squares"] = "least-squares"
    weight: Number = Parameter(start=1.0, learn=False)


class KullbackLeiblerConfig(Section):
    """Smoothed Kullback-Leibler divergence, for Poisson noise."""

    kind: Literal["kullback-leibler"]
    weight: Number = Parameter(start=1.0, learn=False)
    background: Number = Parameter(start=1e-2, learn=False)


class PoissonGaussianConfig(Section):
    """Least squares with the variance: variance + gain * data, for Gaussian and Poisson noise together."""

    kind: Literal["poisson-gaussian"]
    variance: Number = Parameter(start=1e-3, learn=False)
    gain: Number = Parameter(start=1e-2, learn=False)


class HuberConfig(Section):
    """Quadratic near zero, linear beyond: data with some outliers."""

    kind: Literal["huber"]
    weight: Number = Parameter(start=1.0, learn=False)
    scale: Number = Parameter(start=0.1, learn=False)


class PseudoHuberConfig(Section):
    """Huber's function without a kink: quadratic near zero, linear beyond, smooth everywhere."""

    kind: Literal["pseudo-huber"]
    weight: Number = Parameter(start=1.0, learn=False)
    scale: Number = Parameter(start=0.1, learn=False)


class StudentTConfig(Section):
    """Logarithmic growth: data with many outliers (not convex: nothing is certified)."""

    kind: Literal["student-t"]
    weight: Number = Parameter(start=1.0, learn=False)
    scale: Number = Parameter(start=0.1, learn=False)


FidelityConfig = Annotated[
    LeastSquaresConfig
    | KullbackLeiblerConfig
    | PoissonGaussianConfig
    | HuberConfig
    | PseudoHuberConfig
    | StudentTConfig,
    Field(discriminator="kind"),
]


class SmoothedTVConfig(Section):
    """alpha * sum_j sqrt(|(grad x)_j|^2 + nu^2) + xi/2 |x|^2, with all three learned unless said otherwise."""

    kind: Literal["smoothed-tv"] = "smoothed-tv"
    alpha: Number = learned(0.1, 1e-5, 1e2)
    nu: Number = learned(1e-2, 1e-4, 1.0)
    xi: Number = learned(1e-3, 1e-7, 1.0)
    bracket: bool = Field(default=False, description="multiply the ridge xi/2 |x|^2 by alpha too")
    isotropic: bool = Field(default=True, description="magnitude of the gradient over both axes together")
    coupled: bool = Field(default=False, description="magnitude over all channels together (color images)")
    boundary: Literal["neumann", "dirichlet", "periodic"] = "neumann"


class SpaceVariantTVConfig(Section):
    """TV whose weight, direction of edges, cost across them and exponent may vary in space (pixelwise or cells)."""

    kind: Literal["space-variant-tv"]
    alpha: Number = learned(0.1, 1e-5, 1e2)
    angle: Number = learned(0.8, 1e-3, 6.28)
    ratio: Number = learned(0.5, 1e-2, 1.0)
    exponent: Number = Parameter(start=1.0, bounds=(1.0, 2.0), learn=False)
    nu: Number = Parameter(start=1e-2, learn=False)
    xi: Number = Parameter(start=1e-3, learn=False)
    coupled: bool = Field(default=False, description="magnitude over all channels together (color images)")
    boundary: Literal["neumann", "dirichlet", "periodic"] = "neumann"


class SquaredH1Config(Section):
    """alpha/2 |grad x|^2."""

    kind: Literal["squared-h1"]
    alpha: Number = learned(1.0, 1e-5, 1e4)
    boundary: Literal["neumann", "dirichlet", "periodic"] = "neumann"


class TikhonovConfig(Section):
    """alpha/2 |x|^2."""

    kind: Literal["tikhonov"]
    alpha: Number = learned(1e-2, 1e-7, 1e4)


class FieldsOfExpertsConfig(Section):
    """sum_c w_c sum_j phi((k_c * x)_j): filters, weights and potentials learned from data."""

    kind: Literal["foe"]
    filters: PositiveInt = Field(default=24, description="number of filters")
    size: PositiveInt = Field(default=5, description="side of the filters in pixels")
    start: Literal["cosine", "random"] = Field(default="cosine", description="filters to begin with")
    learn_filters: bool = Field(default=True, description="learn the filters, not only their weights")
    zero_mean: bool = Field(default=True, description="filters with mean zero, so that constant images are free")
    boundary: Literal["valid", "zero"] = "valid"
    weights: Number = learned(1e-2, 1e-7, 1e2)
    potential: Literal["student-t", "log-cosh", "absolute", "spline"] = Field(
        default="student-t", description="phi; only student-t, and a spline with weak > 0, is not convex"
    )
    nu: Number = learned(1e-2, 1e-4, 1.0)
    pieces: PositiveInt = Field(default=20, description="spline: pieces of the derivative")
    span: PositiveFloat = Field(default=1.0, description="spline: response beyond which the derivative is constant")
    weak: float = Field(default=0.0, ge=0, description="spline: how far phi may be from convex, phi'' >= -weak")
    steepest: PositiveFloat = Field(default=10.0, description="spline: largest phi''")
    degree: Literal[1, 2] = Field(default=2, description="spline: degree of the derivative")


class _RidgeConfig(Section):
    channels: list[PositiveInt] = Field(default=[4, 8, 64], min_length=1, description="channels after each layer")
    size: PositiveInt = Field(default=5, description="side of the filters of a layer in pixels, odd")
    learn_filters: bool = Field(default=True, description="learn the layers, not only the numbers below")
    weight: Number = learned(1.0, 1e-4, 1e4)
    scale: Number = Parameter(start=1.0, learn=False)
    sharpness: Number = learned(20.0, 1.0, 1e4)
    gains: Number = learned(20.0, 1e-1, 1e4)


class ConvexRidgeConfig(_RidgeConfig):
    """Convex ridge regularizer (CRR): a chain of convolutions and a convex piecewise quadratic function."""

    kind: Literal["crr"]


class WeaklyConvexRidgeConfig(_RidgeConfig):
    """Weakly convex ridge regularizer (WCRR): as CRR minus a flatter copy; certified for denoising with weight < 1."""

    kind: Literal["wcrr"]
    weight: Number = learned(0.9, 1e-4, 0.99)


TermConfig = Annotated[SmoothedTVConfig | SquaredH1Config | TikhonovConfig, Field(discriminator="kind")]


class SumConfig(Section):
    """A sum of regularizers, one [[regularizer.terms]] table each."""

    kind: Literal["sum"]
    terms: list[TermConfig] = Field(min_length=1)


RegularizerConfig = Annotated[
    SmoothedTVConfig
    | SpaceVariantTVConfig
    | SquaredH1Config
    | TikhonovConfig
    | FieldsOfExpertsConfig
    | ConvexRidgeConfig
    | WeaklyConvexRidgeConfig
    | InputConvexConfig
    | DifferenceConfig
    | PatchNetworkConfig
    | TotalDeepVariationConfig
    | SumConfig,
    Field(discriminator="kind"),
]


class SquaredErrorConfig(Section):
    """factor * |x - truth|^2."""

    kind: Literal["squared-error"] = "squared-error"
    factor: PositiveFloat = 1.0


class NegativePSNRConfig(Section):
    """Minus the peak signal-to-noise ratio."""

    kind: Literal["negative-psnr"]
    max_value: PositiveFloat = 1.0


class SmoothedL1Config(Section):
    """Sum of smoothed absolute errors."""

    kind: Literal["smoothed-l1"]
    smoothing: PositiveFloat = 1e-2


class SSIMConfig(Section):
    """1 - structural similarity."""

    kind: Literal["ssim"]
    max_value: PositiveFloat = 1.0


LossConfig = Annotated[
    SquaredErrorConfig | NegativePSNRConfig | SmoothedL1Config | SSIMConfig, Field(discriminator="kind")
]


class PenaltyConfig(Section):
    """A penalty on the parameters."""

    kind: Literal["condition-number", "l1", "l2", "sparsity"]
    weight: float = Field(ge=0)
    names: list[str] | None = Field(default=None, description="which parameters; all learned ones if absent")
