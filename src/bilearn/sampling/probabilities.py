"""Learning the probabilities of a random mask by stochastic straight-through gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilearn.mri.patterns import ProbabilisticPattern
from bilearn.sampling.problem import SamplingProblem
from bilearn.variational import VariationalEnergy

_BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class ProbabilityLearning:
    """How probabilities are learned.

    Args:
        steps: masks that are drawn, one a step.
        step_size: of Adam, on the logits.
        weight_step_size: of Adam, on the coordinates of the other numbers (decimal logarithms of alpha and the ridge).
        images: random training pairs in a step; 0 takes all.
        accuracy: error of a gradient, relative to the norm of the one before, that is asked for.
        seed: of masks and pairs.

    Raises:
        ValueError: if a number is out of range.
    """

    steps: int = 100
    step_size: float = 0.3
    weight_step_size: float = 0.03
    images: int = 2
    accuracy: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.images < 0:
            raise ValueError(f"steps, images: found {self.steps} and {self.images}, expected 1 and 0 or more")
        if not (self.step_size > 0 and self.weight_step_size > 0 and 0 < self.accuracy < 1):
            raise ValueError(f"ProbabilityLearning: found {self}, expected positive step sizes and an accuracy below 1")


@dataclass(frozen=True)
class ProbabilityStep:
    """One step: mean loss of its pairs with its mask, norm of the straight-through gradient, bound on its error."""

    loss: float
    gradient_norm: float
    gradient_bound: float


def learn_probabilities(
    energy: VariationalEnergy, kspace: Tensor, truth: Tensor, learning: ProbabilityLearning | None = None
) -> list[ProbabilityStep]:
    """Learn the logits of a :class:`bilearn.mri.patterns.ProbabilisticPattern` together with the other learnable numbers.

    In every step

    1. draw a mask, and some of the training pairs;
    2. solve the lower level for them, and one adjoint system each: the hypergradient in s and in the other numbers, to the
       asked accuracy;
    3. take it through the mask as if the step were a sigmoid (straight-through), and let Adam step.

    Args:
        energy: made by :func:`bilearn.mri.sampling_energy` with such a pattern and the weighting ``Linear()``; left at the
            learned numbers. ``pattern.exact_mask()`` then is a mask with the number of samples asked for.
        kspace: (N, 2, ...) full noisy k-space, or complex.
        truth: (N, 2, ...) true images, or complex.
        learning: see :class:`ProbabilityLearning`.

    Raises:
        ValueError: if the energy has no probabilistic pattern, or the data do not fit.

    Reference:
        Bahadir, Wang, Dalca, Sabuncu, Deep-learning-based optimization of the under-sampling pattern in MRI (LOUPE), IEEE
        Trans. Comput. Imaging 6, 2020, there with a network in place of the variational reconstruction.
    """
    how = ProbabilityLearning() if learning is None else learning
    problem = SamplingProblem(energy, kspace, truth)
    pattern = problem.pattern
    if not isinstance(pattern, ProbabilisticPattern):
        raise ValueError(f"energy: found the pattern {type(pattern).__name__}, expected a ProbabilisticPattern")
    objective = problem.objective(None, pattern=True)
    parameters, generator = objective.parameters, torch.Generator().manual_seed(how.seed)
    logits, count = len(pattern.logits), min(how.images, problem.pairs) or problem.pairs
    # the data term comes first in the energy, so the logits come first in theta
    sections = [logits, len(parameters) - logits]
    pieces = [nn.Parameter(piece.clone()) for piece in parameters.get().split(sections)]
    groups = [
        {"params": [p], "lr": rate} for p, rate in zip(pieces, (how.step_size, how.weight_step_size), strict=True)
    ]
    adam = torch.optim.Adam(groups, betas=_BETAS)
    steps: list[ProbabilityStep] = []
    for _ in range(how.steps):
        pattern.redraw(generator)
        chosen = torch.randperm(problem.pairs, generator=generator)[:count].to(problem.y.device)
        goal = how.accuracy * steps[-1].gradient_norm if steps and steps[-1].gradient_norm else None
        found = objective.subset(chosen).hypergradient(_joined(pieces), goal)
        assert found.gradient is not None
        steps.append(ProbabilityStep(found.value, float(found.gradient.norm()), found.gradient_bound))
        for piece, gradient in zip(pieces, found.gradient.split(sections), strict=True):
            piece.grad = gradient.clone()
        adam.step()
        with torch.no_grad():
            for piece, inside in zip(pieces, parameters.project(_joined(pieces)).split(sections), strict=True):
                piece.copy_(inside)
    parameters.set(_joined(pieces))
    return steps


def _joined(pieces: Sequence[nn.Parameter]) -> Tensor:
    return torch.cat([piece.detach() for piece in pieces])
