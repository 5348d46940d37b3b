"""Inexact stochastic hypergradient descent on minibatches of training pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bilearn.upper.optimizer import Oracle
from bilearn.upper.scheduled_descent import ScheduledDescent
from bilearn.upper.schedules import Polynomial


@dataclass(frozen=True)
class InexactSGD(ScheduledDescent):
    """ISGD: theta_{k+1} = P(theta_k - alpha_k z_k), z_k the inexact gradient of a minibatch.

    1. Minibatch I_k: each epoch is a random permutation of the samples, cut into ceil(N / ``batch_size``) parts of nearly
       equal size, so that every sample is drawn exactly once an epoch. Reconstructions are kept per sample.
    2. z_k: gradient of the mean over I_k (the sum scaled by N / |I_k|) plus penalty, with error
       eps_k = ``initial_accuracy`` / (k + 1)^``accuracy_power``.
    3. alpha_k = ``initial_length`` / (k + 1)^``length_power``.
    4. After every ``epochs_between_values`` epochs F itself is evaluated; ``state.best`` is the lowest of those. Values of
       minibatches are never compared.

    Conditions: the gradient of F Lipschitz, |error of z_k| <= eps_k, variance of z_k bounded by s^2. Then

        min_k E|grad F|^2 <= O( (F_0 - F* + sum alpha_k eps_k^2 + s^2 sum alpha_k^2) / sum alpha_k ),

    which tends to zero for length_power in [1/2, 1] and any accuracy_power > 0; with 1/2 and at least 1/4 it is O(K^-1/2) up
    to logarithms. Constant steps and accuracies reach a neighborhood only. A run over minibatches has no stopping test of
    its own apart from vanishing steps: it ends at the step limit or budget.

    Reference: Salehi, Mukherjee, Roberts, Ehrhardt, Bilevel learning with inexact stochastic gradients, 2024.

    Args:
        initial_length: alpha_0, in coordinates per unit of gradient.
        initial_accuracy: eps_0, a bound on the gradient's error.
        length_power: q.
        accuracy_power: p.
        batch_size: most samples in a minibatch; None takes all samples in every iteration.
        seed: of the permutations.
        epochs_between_values: epochs between two evaluations of F.
        gradient_tolerance: as in :class:`ScheduledGradient`, where a minibatch has all samples.
        step_tolerance: SMALL_STEP when a step is below this and the gradient's error could not change that.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    initial_length: float
    initial_accuracy: float
    length_power: float = 0.5
    accuracy_power: float = 0.25
    batch_size: int | None = 8
    seed: int = 0
    epochs_between_values: int = 1
    gradient_tolerance: float = 1e-6
    step_tolerance: float = 1e-12

    def __post_init__(self) -> None:
        for name in ("initial_length", "initial_accuracy", "epochs_between_values"):
            if not getattr(self, name) > 0:
                raise ValueError(f"InexactSGD.{name}: found {getattr(self, name)}, expected a positive number")
        for name in ("length_power", "accuracy_power"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"InexactSGD.{name}: found {getattr(self, name)}, expected a number that is not negative"
                )
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"InexactSGD.batch_size: found {self.batch_size}, expected at least 1, or None")

    def length(self, iteration: int, norm: float) -> float:
        """alpha_k."""
        return Polynomial(self.initial_length, self.length_power)(iteration)

    def accuracy_at(self, iteration: int, norm: float | None) -> float:
        """eps_k."""
        return Polynomial(self.initial_accuracy, self.accuracy_power)(iteration)

    def minibatch(self, objective: Oracle, iteration: int) -> Oracle | None:
        """The samples of I_k, or None where these are all."""
        parts = self._parts(objective)
        if parts == 1:
            return None
        epoch, position = divmod(iteration, parts)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(objective.samples, generator=generator)
        return objective.subset(order.tensor_split(parts)[position].sort().values, unbiased=True)

    def due(self, objective: Oracle, iteration: int) -> bool:
        """At the start of an epoch."""
        return iteration % (self.epochs_between_values * self._parts(objective)) == 0

    def _parts(self, objective: Oracle) -> int:
        return 1 if self.batch_size is None else math.ceil(objective.samples / self.batch_size)
