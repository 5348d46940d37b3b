"""What all stages of learning a pattern share: energy, data, loss, and which numbers are learned."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.hypergradient import HypergradientEstimator
from bilearn.losses import SquaredError, UpperLoss
from bilearn.lower import LowerSolver, NewtonCG
from bilearn.mri import KSpaceFidelity
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.sampling.penalty import PATTERN, SamplingPenalty
from bilearn.variational import VariationalEnergy


class SamplingProblem:
    """Training pairs and an energy whose data term a pattern weights.

    The loss of a pair, unless another one is given, is |x - x*|^2 / (2 n), n the number of pixels: the mean of the squared
    error over all real numbers of a complex image, as in the experiments of Sherry et al. (2020).

    Args:
        energy: made by :func:`bilearn.mri.sampling_energy`; something in it must be learnable.
        kspace: (N, 2, ...) full noisy k-space in two channels, or complex (N, ...).
        truth: (N, 2, ...) true images in two channels, or complex (N, ...).
        solver: lower-level method; Newton's if None.
        estimator: of hypergradients.
        batch_size: pairs solved at once.
        loss: of a pair.

    Attributes:
        energy, fidelity, pattern: the energy and its parts.
        scale: 1 / (2 n).
        y, x: data and true images in two channels, in the dtype of the pattern.
        learns_pattern, learns_rest: whether there are learnable numbers in the pattern and elsewhere.

    Raises:
        ValueError: if the data term has no pattern, or the data do not fit.
    """

    def __init__(
        self,
        energy: VariationalEnergy,
        kspace: Tensor,
        truth: Tensor,
        solver: LowerSolver | None = None,
        estimator: HypergradientEstimator | None = None,
        batch_size: int | None = None,
        loss: UpperLoss | None = None,
    ) -> None:
        if not isinstance(energy.fidelity, KSpaceFidelity):
            raise ValueError(
                f"energy: found the data term {type(energy.fidelity).__name__}, expected a KSpaceFidelity; "
                "make the energy with bilearn.mri.sampling_energy"
            )
        self.energy, self.fidelity, self.pattern = energy, energy.fidelity, energy.fidelity.pattern
        with torch.no_grad():
            degrees = self.pattern()
        axes = degrees.ndim
        self.y, self.x = (
            _channels(name, tensor, axes).to(degrees) for name, tensor in (("kspace", kspace), ("truth", truth))
        )
        if self.x.shape[-axes:] != degrees.shape or self.y.shape[-axes:] != degrees.shape:
            raise ValueError(
                f"kspace, truth: found {tuple(self.y.shape)} and {tuple(self.x.shape)} for a pattern of shape "
                f"{tuple(degrees.shape)}, expected the same last axes"
            )
        self.scale = 1.0 / (2 * degrees.numel())
        self.loss: UpperLoss = SquaredError(self.scale) if loss is None else loss
        self.solver = NewtonCG() if solver is None else solver
        self.estimator, self.batch_size = estimator, batch_size
        self._pattern_parameters = [p for p in self.pattern.parameters() if p.requires_grad]
        inside = {id(p) for p in self._pattern_parameters}
        self._rest = [p for p in energy.parameters() if p.requires_grad and id(p) not in inside]
        if not self._pattern_parameters and not self._rest:
            raise ValueError("energy: found nothing to learn; make the pattern or the regularizer with learn")

    @property
    def learns_pattern(self) -> bool:
        """Whether the pattern has learnable numbers."""
        return bool(self._pattern_parameters)

    @property
    def learns_rest(self) -> bool:
        """Whether anything but the pattern is learnable."""
        return bool(self._rest)

    @property
    def rest_count(self) -> int:
        """Number of learnable tensors outside of the pattern: the last ones of a :meth:`snapshot`."""
        return len(self._rest)

    @property
    def pairs(self) -> int:
        """Number of training pairs N."""
        return self.x.shape[0]

    def objective(self, penalty: SamplingPenalty | None, pattern: bool, rest: bool = True) -> ReducedObjective:
        """The objective over the pattern's numbers, the others, or both; it decides what is learned from now on."""
        for parameter in self._pattern_parameters:
            parameter.requires_grad_(pattern)
        for parameter in self._rest:
            parameter.requires_grad_(rest)
        return ReducedObjective(
            self.energy,
            self.y,
            self.x,
            self.loss,
            penalty,
            solver=self.solver,
            estimator=self.estimator,
            batch_size=self.batch_size,
        )

    def release(self) -> None:
        """Everything that was learnable at first is learnable again."""
        for parameter in (*self._pattern_parameters, *self._rest):
            parameter.requires_grad_(True)

    def snapshot(self) -> list[Tensor]:
        """Copies of all learnable coordinates, for :meth:`restore`."""
        return [p.detach().clone() for p in (*self._pattern_parameters, *self._rest)]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Write the coordinates of a :meth:`snapshot`."""
        with torch.no_grad():
            for parameter, value in zip((*self._pattern_parameters, *self._rest), snapshot, strict=True):
                parameter.copy_(value)

    def degrees(self) -> Tensor:
        """s on the grid, detached."""
        with torch.no_grad():
            return self.pattern().detach()

    @property
    def least_squares(self) -> bool:
        """Whether the loss is a function of residuals."""
        return self.loss.residual(self.x[:1], self.x[:1]) is not None

    def ridge(self) -> float:
        """Strong convexity of the regularizer; at least 1e-6, so that it can be divided by."""
        constant = self.energy.regularizer.curvature(self.x[:1]).strong_convexity
        return max(float(torch.as_tensor(constant.value).min()), 1e-6)

    def zero_loss(self) -> float:
        """Mean loss of the reconstruction zero."""
        return float(self.loss(torch.zeros_like(self.x), self.x).mean())

    def rest_values(self) -> dict[str, float]:
        """Natural values of the learnable numbers outside of the pattern, by name; means where they are maps."""
        inside = {id(p) for p in self._pattern_parameters}
        self.release()
        return {
            slot.name: float(slot.coordinate(slot.parameter.detach()).mean())
            for slot in ParameterVector(self.energy).slots
            if id(slot.parameter) not in inside
        }


def pattern_range(parameters: ParameterVector) -> slice:
    """Where the numbers of the pattern are in theta.

    Raises:
        ValueError: if there are none.
    """
    slots = [slot for slot in parameters.slots if slot.name.startswith(PATTERN)]
    if not slots:
        raise ValueError("pattern: found no learnable number, expected a pattern made with learn=True")
    return slice(slots[0].start, slots[-1].stop)


def _channels(name: str, value: Tensor, axes: int) -> Tensor:
    """Two real channels before the last ``axes`` axes."""
    out = torch.stack((value.real, value.imag), 1) if value.is_complex() else value
    if out.ndim < axes + 2 or out.shape[1] != 2:
        raise ValueError(
            f"{name}: found shape {tuple(value.shape)} of {value.dtype}, expected (N, 2, ...) with real and imaginary part "
            "in two channels, or complex (N, ...)"
        )
    if not bool(torch.isfinite(out).all()):
        raise ValueError(f"{name}: found NaN or infinity, expected finite numbers; clean the data first")
    return out
