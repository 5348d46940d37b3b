"""Energies, losses and penalties of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bilearn.coarse_map import CoarseMap
from bilearn.experiment.build_filters import build_filter_regularizer
from bilearn.experiment.build_networks import build_network_regularizer
from bilearn.experiment.data_schema import Parameter
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.model_schema import (
    ConvexRidgeConfig,
    FidelityConfig,
    FieldsOfExpertsConfig,
    LeastSquaresConfig,
    LossConfig,
    NegativePSNRConfig,
    PenaltyConfig,
    RegularizerConfig,
    SmoothedL1Config,
    SmoothedTVConfig,
    SpaceVariantTVConfig,
    SquaredErrorConfig,
    SquaredH1Config,
    SumConfig,
    TikhonovConfig,
    WeaklyConvexRidgeConfig,
)
from bilearn.experiment.network_schema import NetworkConfig
from bilearn.fidelities import (
    Fidelity,
    Huber,
    KullbackLeibler,
    LeastSquares,
    PoissonGaussian,
    PseudoHuber,
    StudentT,
)
from bilearn.losses import NegativePSNR, SmoothedL1, SquaredError, SSIMLoss, UpperLoss
from bilearn.operators import ForwardOperator
from bilearn.penalties import L1, L2, ConditionNumber, Penalty, Sparsity
from bilearn.regularizers import Regularizer, SmoothedTV, SpaceVariantTV, SquaredH1, Sum, Tikhonov
from bilearn.variational import VariationalEnergy

_PENALTIES = {"l1": L1, "l2": L2, "sparsity": Sparsity}


def build_energy(
    fidelity: FidelityConfig,
    regularizer: RegularizerConfig,
    operator: ForwardOperator,
    image_shape: tuple[int, ...],
    seed: int = 0,
) -> VariationalEnergy:
    """The energy at its start parameters; ``seed`` draws random filters."""
    data_shape = tuple(operator.A(torch.zeros(1, *image_shape, dtype=torch.float64)).shape[1:])
    data = build_fidelity(fidelity, data_shape)
    energy = VariationalEnergy(data, build_regularizer(regularizer, image_shape, seed), operator)
    if not any(p.requires_grad for p in energy.parameters()):
        raise ConfigError("regularizer: found no learned parameter; write one as alpha = { start = 0.1 }")
    return energy


_FIDELITIES: dict[str, Callable[..., Fidelity]] = {
    "huber": Huber,
    "kullback-leibler": KullbackLeibler,
    "poisson-gaussian": PoissonGaussian,
    "pseudo-huber": PseudoHuber,
    "student-t": StudentT,
}


def build_fidelity(config: FidelityConfig, data_shape: tuple[int, ...]) -> Fidelity:
    """The data fidelity of the section [fidelity] for data (C, H, W), (C, L) or (L,)."""
    numbers = {n: p for n in type(config).model_fields if isinstance(p := getattr(config, n), Parameter)}
    values = {name: _value(number, data_shape, f"fidelity.{name}") for name, number in numbers.items()}
    limits = {name: number.bounds for name, number in numbers.items() if number.bounds is not None}
    if isinstance(config, LeastSquaresConfig):
        return LeastSquares(values["weight"], config.weight.learn, limits.get("weight", (1e-7, 1e7)))
    return _FIDELITIES[config.kind](
        **values, learn=[name for name, number in numbers.items() if number.learn], bounds=limits
    )


def build_regularizer(config: RegularizerConfig, image_shape: tuple[int, ...], seed: int = 0) -> Regularizer:
    """The regularizer of the section [regularizer] for images (C, H, W) or signals (C, L)."""
    axes = len(image_shape) - 1
    if isinstance(config, SumConfig):
        return Sum(*(build_regularizer(term, image_shape) for term in config.terms))
    if isinstance(config, (FieldsOfExpertsConfig, ConvexRidgeConfig, WeaklyConvexRidgeConfig)):
        return build_filter_regularizer(config, image_shape, seed)
    if isinstance(config, SpaceVariantTVConfig):
        return _space_variant(config, image_shape)
    if isinstance(config, NetworkConfig):
        return build_network_regularizer(config, image_shape, seed)
    alpha = _value(config.alpha, image_shape, "regularizer.alpha")
    if isinstance(config, SmoothedTVConfig):
        parameters = {"alpha": config.alpha, "xi": config.xi, "nu": config.nu}
        if config.xi.varies or config.nu.varies:
            raise ConfigError("regularizer: only alpha can have one value per pixel (pixelwise) or cell (cells)")
        return SmoothedTV(
            alpha=alpha,
            xi=config.xi.start,
            nu=config.nu.start,
            bracket=config.bracket,
            learn=[name for name, p in parameters.items() if p.learn],
            bounds={name: p.bounds for name, p in parameters.items() if p.bounds is not None},
            axes=axes,
            isotropic=config.isotropic,
            coupled=config.coupled,
            boundary=config.boundary,
        )
    options: dict[str, Any] = {} if config.alpha.bounds is None else {"bounds": config.alpha.bounds}
    if isinstance(config, SquaredH1Config):
        return SquaredH1(alpha, learn=config.alpha.learn, axes=axes, boundary=config.boundary, **options)
    assert isinstance(config, TikhonovConfig)
    return Tikhonov(alpha, learn=config.alpha.learn, **options)


def _space_variant(config: SpaceVariantTVConfig, image_shape: tuple[int, ...]) -> SpaceVariantTV:
    if len(image_shape) != 3:
        raise ConfigError("regularizer.kind = 'space-variant-tv': needs images, found signals; choose 'smoothed-tv'")
    if config.xi.varies or config.nu.varies:
        raise ConfigError("regularizer: xi and nu are one number each; remove pixelwise and cells")
    numbers = {n: getattr(config, n) for n in ("alpha", "angle", "ratio", "exponent", "xi", "nu")}
    values: dict[str, Any] = {n: _value(p, image_shape, f"regularizer.{n}") for n, p in numbers.items()}
    try:
        return SpaceVariantTV(
            **values,
            learn=[name for name, p in numbers.items() if p.learn],
            bounds={name: p.bounds for name, p in numbers.items() if p.bounds is not None},
            coupled=config.coupled,
            boundary=config.boundary,
        )
    except ValueError as error:
        raise ConfigError(f"regularizer: {error}") from None


def _value(parameter: Parameter, shape: tuple[int, ...], field: str) -> float | Tensor | CoarseMap:
    """The start value, as a map on ``shape`` (channels first unless it has one axis) where it varies."""
    if not parameter.varies:
        return parameter.start
    size = shape[1:] if len(shape) > 1 else shape
    lead = (1,) * (len(shape) + 1 - len(size))
    if parameter.cells is None:
        return torch.full((*lead, *size), parameter.start, dtype=torch.float64)
    try:
        return CoarseMap(torch.full((*lead, *parameter.cells), parameter.start, dtype=torch.float64), size)
    except ValueError as error:
        raise ConfigError(f"{field}.cells: {error}") from None


def build_loss(config: LossConfig) -> UpperLoss:
    """The upper-level loss of the section [loss]."""
    if isinstance(config, SquaredErrorConfig):
        return SquaredError(config.factor)
    if isinstance(config, NegativePSNRConfig):
        return NegativePSNR(config.max_value)
    if isinstance(config, SmoothedL1Config):
        return SmoothedL1(config.smoothing)
    return SSIMLoss(config.max_value)


def build_penalty(config: PenaltyConfig | None) -> Penalty | None:
    """The penalty of the section [penalty]."""
    if config is None:
        return None
    if config.kind == "condition-number":
        return ConditionNumber(config.weight)
    return _PENALTIES[config.kind](config.weight, config.names)
