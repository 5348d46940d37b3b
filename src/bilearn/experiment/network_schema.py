"""The typed configuration of regularizer networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bilearn.experiment.data_schema import Number, Section, learned


class NetworkConfig(Section):
    """weight/scale^2 f(scale x): what all networks share."""

    features: PositiveInt = Field(default=16, description="channels inside the network")
    learn_network: bool = Field(default=True, description="learn the network, not only its weight and scale")
    weight: Number = learned(1e-2, 1e-6, 1e2)
    scale: Number = learned(1.0, 1e-2, 1e2)


class _RectifiedConfig(NetworkConfig):
    layers: PositiveInt = Field(default=2, description="layers of the network")
    size: PositiveInt = Field(default=5, description="side of the kernels of a layer in pixels, odd")
    smoothing: PositiveFloat = Field(default=0.1, description="of the rectifier at the start; learned with the network")


class InputConvexConfig(_RectifiedConfig):
    """Input-convex network (ICNN): convex whatever its parameters, so that every reconstruction is certified."""

    kind: Literal["icnn"]


class DifferenceConfig(_RectifiedConfig):
    """Difference of two input-convex networks (IDCNN): not convex."""

    kind: Literal["idcnn"]


class PatchNetworkConfig(_RectifiedConfig):
    """A small network on every patch, summed: not convex."""

    kind: Literal["patch-network"]
    layers: PositiveInt = Field(default=3, description="layers of the network")
    size: PositiveInt = Field(default=3, description="side of the kernels of a layer in pixels, odd")


class TotalDeepVariationConfig(NetworkConfig):
    """Total deep variation (TDV): a multi-scale residual network; not convex, nothing is known of its curvature."""

    kind: Literal["tdv"]
    scales: PositiveInt = Field(default=3, description="resolutions of a block")
    blocks: PositiveInt = Field(default=3, description="blocks one after the other")
