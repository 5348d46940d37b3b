"""Energies, losses and penalties of a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilearn.experiment.build_filters import build_filter_regularizer
from bilearn.experiment.build_networks import build_network_regularizer
from bilearn.experiment.data_schema import Parameter
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.model_schema import (
    ConvexRidgeConfig,
    FidelityConfig,
    FieldsOfExpertsConfig,
    HuberConfig,
    KullbackLeiblerConfig,
    LeastSquaresConfig,
    LossConfig,
    NegativePSNRConfig,
    PenaltyConfig,
    PseudoHuberConfig,
    RegularizerConfig,
    SmoothedL1Config,
    SmoothedTVConfig,
    SquaredErrorConfig,
    SquaredH1Config,
    SumConfig,
    TikhonovConfig,
    WeaklyConvexRidgeConfig,
)
from bilearn.experiment.network_schema import NetworkConfig
from bilearn.fidelities import Fidelity, Huber, KullbackLeibler, LeastSquares, PseudoHuber, StudentT
from bilearn.losses import NegativePSNR, SmoothedL1, SquaredError, SSIMLoss, UpperLoss
from bilearn.operators import ForwardOperator
from bilearn.penalties import L1, L2, ConditionNumber, Penalty, Sparsity
from bilearn.regularizers import Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov
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
    energy = VariationalEnergy(build_fidelity(fidelity), build_regularizer(regularizer, image_shape, seed), operator)
    if not any(p.requires_grad for p in energy.parameters()):
        raise ConfigError("regularizer: found no learned parameter; write one as alpha = { start = 0.1 }")
    return energy


def build_fidelity(config: FidelityConfig) -> Fidelity:
    """The data fidelity of the section [fidelity]."""
    if config.weight.pixelwise:
        raise ConfigError("fidelity.weight.pixelwise: only regularizers can have one value per pixel")
    if isinstance(config, (LeastSquaresConfig, KullbackLeiblerConfig)):
        options: dict[str, Any] = {"weight": config.weight.start, "learn": config.weight.learn}
        if config.weight.bounds is not None:
            options["bounds"] = config.weight.bounds
        if isinstance(config, KullbackLeiblerConfig):
            return KullbackLeibler(background=config.background, **options)
        return LeastSquares(**options)
    kind = (
        Huber if isinstance(config, HuberConfig) else PseudoHuber if isinstance(config, PseudoHuberConfig) else StudentT
    )
    return kind(
        weight=config.weight.start,
        scale=config.scale.start,
        learn=[name for name in ("weight", "scale") if getattr(config, name).learn],
        bounds={name: b for name in ("weight", "scale") if (b := getattr(config, name).bounds) is not None},
    )


def build_regularizer(config: RegularizerConfig, image_shape: tuple[int, ...], seed: int = 0) -> Regularizer:
    """The regularizer of the section [regularizer] for images (C, H, W) or signals (C, L)."""
    axes = len(image_shape) - 1
    if isinstance(config, SumConfig):
        return Sum(*(build_regularizer(term, image_shape) for term in config.terms))
    if isinstance(config, (FieldsOfExpertsConfig, ConvexRidgeConfig, WeaklyConvexRidgeConfig)):
        return build_filter_regularizer(config, image_shape, seed)
    if isinstance(config, NetworkConfig):
        return build_network_regularizer(config, image_shape, seed)
    alpha = _value(config.alpha, image_shape)
    if isinstance(config, SmoothedTVConfig):
        parameters = {"alpha": config.alpha, "xi": config.xi, "nu": config.nu}
        if config.xi.pixelwise or config.nu.pixelwise:
            raise ConfigError("regularizer: only alpha can have one value per pixel (pixelwise)")
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


def _value(parameter: Parameter, image_shape: tuple[int, ...]) -> float | Tensor:
    if not parameter.pixelwise:
        return parameter.start
    return torch.full((1, 1, *image_shape[1:]), parameter.start, dtype=torch.float64)


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
