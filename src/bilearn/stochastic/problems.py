"""Finite sums: quadratics with a closed form, per-feature ridge weights of logistic regression, data cleaning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bilearn.curvature import Constant, Curvature
from bilearn.stochastic.finite_sum import FiniteSum, LowerParts, UpperParts


@dataclass(frozen=True)
class QuadraticTerms:
    """Samples of 1/2 (a_i z)^2 + 1/2 (b_i x)^2 + (c_i x)(d_i z) + e_i z + f_i x, one in each row.

    Attributes:
        lower: a (N, n).
        upper: b (N, p).
        left: c (N, p).
        right: d (N, n).
        lower_linear: e (N, n).
        upper_linear: f (N, p).
    """

    lower: Tensor
    upper: Tensor
    left: Tensor
    right: Tensor
    lower_linear: Tensor
    upper_linear: Tensor

    def select(self, index: Tensor | None) -> QuadraticTerms:
        """The samples ``index``, all if None."""
        return self if index is None else QuadraticTerms(*(t[index] for t in vars(self).values()))

    def value(self, z: Tensor, x: Tensor) -> Tensor:
        """Mean over the samples."""
        squares = 0.5 * ((self.lower @ z).square() + (self.upper @ x).square())
        return (squares + (self.left @ x) * (self.right @ z) + self.lower_linear @ z + self.upper_linear @ x).mean()

    def gradient_lower(self, z: Tensor, x: Tensor) -> Tensor:
        """(n,) mean of the gradients in z."""
        count = self.lower.shape[0]
        return (self.lower.T @ (self.lower @ z) + self.right.T @ (self.left @ x)) / count + self.lower_linear.mean(0)

    def gradient_upper(self, z: Tensor, x: Tensor) -> Tensor:
        """(p,) mean of the gradients in x."""
        count = self.upper.shape[0]
        return (self.upper.T @ (self.upper @ x) + self.left.T @ (self.right @ z)) / count + self.upper_linear.mean(0)


class QuadraticSum(FiniteSum):
    """Quadratic G_i and F_j, with closed forms for everything; Phi is a quadratic.

    Args:
        inner: terms of G, with a positive definite mean Hessian in z.
        outer: terms of F.
    """

    def __init__(self, inner: QuadraticTerms, outer: QuadraticTerms) -> None:
        n, p = inner.lower.shape[1], inner.upper.shape[1]
        super().__init__(
            inner.lower.shape[0], outer.lower.shape[0], inner.lower.new_zeros(n), inner.lower.new_full((p,), -2.0)
        )
        self.inner, self.outer = inner, outer
        hessian = inner.lower.T @ inner.lower / inner.lower.shape[0]
        self._spectrum = torch.linalg.eigvalsh(hessian)

    def lower(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean of G_i."""
        return self.inner.select(index).value(z, x)

    def upper(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean of F_j."""
        return self.outer.select(index).value(z, x)

    def lower_gradient(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """In closed form."""
        return self.inner.select(index).gradient_lower(z, x)

    def lower_parts(self, z: Tensor, x: Tensor, v: Tensor, index: Tensor | None) -> LowerParts:
        """In closed form."""
        terms = self.inner.select(index)
        count = terms.lower.shape[0]
        product, cross = terms.lower.T @ (terms.lower @ v) / count, terms.left.T @ (terms.right @ v) / count
        return LowerParts(terms.gradient_lower(z, x), product, cross)

    def hessian_product(self, z: Tensor, x: Tensor, v: Tensor, index: Tensor | None) -> Tensor:
        """In closed form."""
        rows = self.inner.lower if index is None else self.inner.lower[index]
        return rows.T @ (rows @ v) / rows.shape[0]

    def upper_parts(self, z: Tensor, x: Tensor, index: Tensor | None) -> UpperParts:
        """In closed form."""
        terms = self.outer.select(index)
        return UpperParts(terms.gradient_lower(z, x), terms.gradient_upper(z, x))

    def curvature(self, x: Tensor) -> Curvature:
        """Extreme eigenvalues of the mean Hessian."""
        return Curvature(Constant(float(self._spectrum[0])), Constant(float(self._spectrum[-1])), Constant(0.0))

    def reduced_hessian(self) -> Tensor:
        """(p, p) Hessian of Phi."""
        inner, outer = self.inner, self.outer
        hessian = inner.lower.T @ inner.lower / self.lower_samples
        cross = inner.left.T @ inner.right / self.lower_samples
        jacobian = -torch.linalg.solve(hessian, cross.T)
        curved = outer.lower.T @ outer.lower / self.upper_samples
        mixed = outer.left.T @ outer.right / self.upper_samples @ jacobian
        return jacobian.T @ curved @ jacobian + outer.upper.T @ outer.upper / self.upper_samples + mixed + mixed.T

    def minimizer(self) -> Tensor:
        """(p,) minimizer of Phi."""
        inner, outer = self.inner, self.outer
        hessian = inner.lower.T @ inner.lower / self.lower_samples
        cross = inner.left.T @ inner.right / self.lower_samples
        jacobian = -torch.linalg.solve(hessian, cross.T)
        offset = -torch.linalg.solve(hessian, inner.lower_linear.mean(0))
        zero = torch.zeros_like(self.upper_start)
        slope = jacobian.T @ outer.gradient_lower(offset, zero) + outer.gradient_upper(offset, zero)
        return -torch.linalg.solve(self.reduced_hessian(), slope)


def simulated_quadratic(
    lower_samples: int = 1024,
    upper_samples: int = 1024,
    lower_size: int = 100,
    upper_size: int = 100,
    mu: float = 0.1,
    smoothness: float = 1.0,
    cross: float = 0.1,
    seed: int = 2442,
) -> QuadraticSum:
    """The quadratic simulation of the public bilevel benchmark, drawn again from its definition.

    Samples have rank-one Hessians with correlation matrices of eigenvalues spaced logarithmically in [mu, smoothness] (in x:
    the same and one zero) and rank-one cross terms with singular values in [mu, cross]; linear terms are normal. Draws whose
    Phi is not strongly convex are refused; every retry has a seed of its own.

    Raises:
        ValueError: if twenty draws have no strongly convex Phi.
    """
    for attempt in range(20):
        generator = torch.Generator().manual_seed(seed + 1000 * attempt)
        problem = QuadraticSum(
            _terms(generator, lower_samples, lower_size, upper_size, mu, smoothness, cross),
            _terms(generator, upper_samples, lower_size, upper_size, mu, smoothness, cross),
        )
        if float(torch.linalg.eigvalsh(problem.reduced_hessian())[0]) >= 1e-12:
            return problem
    raise ValueError(
        f"simulated_quadratic: found no strongly convex objective in 20 draws from seed {seed}; take more samples or a "
        "smaller cross"
    )


def _terms(
    generator: torch.Generator, count: int, n: int, p: int, mu: float, smoothness: float, cross: float
) -> QuadraticTerms:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def frame(size: int) -> Tensor:
        return torch.linalg.qr(normal(size, size))[0]

    def root(eigenvalues: Tensor) -> Tensor:
        u = frame(eigenvalues.numel())
        return u @ torch.diag(eigenvalues.sqrt()) @ u.T

    def spaced(low: float, high: float, number: int) -> Tensor:
        ends = torch.log10(torch.tensor([low, high], dtype=torch.float64))
        return torch.logspace(float(ends[0]), float(ends[1]), number, dtype=torch.float64)

    zero = torch.zeros(1, dtype=torch.float64)
    rank = min(n, p)
    shared = normal(count, n)
    left, right = frame(p)[:, :rank] * spaced(mu, cross, rank), frame(n)[:, :rank]
    return QuadraticTerms(
        normal(count, n) @ root(spaced(mu, smoothness, n)),
        normal(count, p) @ root(torch.cat((zero, spaced(mu, smoothness, p - 1)))),
        shared[:, :rank] @ left.T,
        shared[:, :rank] @ right.T,
        normal(count, n),
        normal(count, p),
    )


class RidgeLogistic(FiniteSum):
    """Ridge weights of logistic regression, one for each feature: x = log of the weights, F = loss on other data.

        G = mean_i loss(a_i z, c_i) + 1/2 sum_f exp(x_f) |z_f|^2,        F = mean_j loss(b_j z, d_j)

    with the logistic loss for two classes (z has one column) and cross entropy for more.

    Args:
        features: a (N, f).
        labels: c (N,) class numbers.
        validation_features: b (M, f).
        validation_labels: d (M,).
        log_weight: x at the start.

    Raises:
        ValueError: if shapes do not fit, or there are fewer than two classes.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        validation_features: Tensor,
        validation_labels: Tensor,
        log_weight: float = -2.0,
    ) -> None:
        columns = _columns(features, labels, validation_features, validation_labels)
        width = features.shape[1]
        super().__init__(
            features.shape[0],
            validation_features.shape[0],
            features.new_zeros(width * columns),
            features.new_full((width,), log_weight),
        )
        self.features, self.labels = features, labels
        self.validation_features, self.validation_labels = validation_features, validation_labels
        self.columns = columns
        self._norm = float(torch.linalg.matrix_norm(features, 2)) ** 2 / features.shape[0]

    def lower(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean loss of the batch and the ridge."""
        rows, labels = _batch_of(self.features, self.labels, index)
        matrix = z.reshape(-1, self.columns)
        return _losses(rows @ matrix, labels).mean() + 0.5 * (x.exp() @ matrix.square().sum(1))

    def upper(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean validation loss of the batch."""
        rows, labels = _batch_of(self.validation_features, self.validation_labels, index)
        return _losses(rows @ z.reshape(-1, self.columns), labels).mean()

    def accuracy(self, z: Tensor) -> float:
        """Part of the validation samples whose class is right."""
        return _accuracy(self.validation_features @ z.reshape(-1, self.columns), self.validation_labels)

    def curvature(self, x: Tensor) -> Curvature:
        """mu is the smallest ridge weight; the loss adds at most |a|^2 / 4 (two classes) or |a|^2 / 2 to the largest."""
        weights = x.detach().exp()
        share = 0.25 if self.columns == 1 else 0.5
        return Curvature(Constant(float(weights.min())), Constant(float(weights.max()) + share * self._norm))


class HyperCleaning(FiniteSum):
    """Weights of training samples with wrong labels among them: G = mean_i sigmoid(x_i) loss_i + ridge / 2 |z|^2.

    Args:
        features, labels: as in :class:`RidgeLogistic`, some labels wrong.
        validation_features, validation_labels: clean.
        ridge: its weight, positive.

    Raises:
        ValueError: if shapes do not fit, or ``ridge`` is not positive.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        validation_features: Tensor,
        validation_labels: Tensor,
        ridge: float = 0.2,
    ) -> None:
        if not ridge > 0:
            raise ValueError(f"ridge: found {ridge}, expected a positive number")
        columns = _columns(features, labels, validation_features, validation_labels)
        super().__init__(
            features.shape[0],
            validation_features.shape[0],
            features.new_zeros(features.shape[1] * columns),
            features.new_zeros(features.shape[0]),
        )
        self.features, self.labels = features, labels
        self.validation_features, self.validation_labels = validation_features, validation_labels
        self.columns, self.ridge = columns, ridge

    def lower(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean weighted loss of the batch and the ridge."""
        rows, labels = _batch_of(self.features, self.labels, index)
        weights = torch.sigmoid(x if index is None else x[index])
        losses = _losses(rows @ z.reshape(-1, self.columns), labels)
        return (weights * losses).mean() + 0.5 * self.ridge * z.square().sum()

    def upper(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean validation loss of the batch."""
        rows, labels = _batch_of(self.validation_features, self.validation_labels, index)
        return _losses(rows @ z.reshape(-1, self.columns), labels).mean()

    def accuracy(self, z: Tensor) -> float:
        """Part of the validation samples whose class is right."""
        return _accuracy(self.validation_features @ z.reshape(-1, self.columns), self.validation_labels)

    def curvature(self, x: Tensor) -> Curvature:
        """mu is the ridge."""
        return Curvature(Constant(self.ridge))


def classification_figures(z: Tensor, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean loss ("loss") and part of the samples whose class is right ("accuracy") of a linear classifier.

    Args:
        z: (f * columns,) as in the problems of this file.
        features: (N, f).
        labels: (N,) class numbers.
    """
    scores = features @ z.reshape(features.shape[1], -1)
    return {"loss": float(_losses(scores, labels).mean()), "accuracy": _accuracy(scores, labels)}


def _columns(features: Tensor, labels: Tensor, validation_features: Tensor, validation_labels: Tensor) -> int:
    """Columns of z; checks the shapes."""
    for name, rows, classes in (
        ("labels", features, labels),
        ("validation_labels", validation_features, validation_labels),
    ):
        if rows.ndim != 2 or classes.shape != rows.shape[:1]:
            raise ValueError(
                f"{name}: found shape {tuple(classes.shape)} for features of shape {tuple(rows.shape)}, expected one class "
                "number for each row of a matrix"
            )
    if features.shape[1] != validation_features.shape[1]:
        raise ValueError(
            f"validation_features: found {validation_features.shape[1]} columns, expected {features.shape[1]}"
        )
    count = 1 + int(max(labels.max(), validation_labels.max()))
    if count < 2:
        raise ValueError("labels: found one class only, expected at least two")
    return 1 if count == 2 else count


def _batch_of(features: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
    return (features, labels) if index is None else (features[index], labels[index])


def _losses(scores: Tensor, labels: Tensor) -> Tensor:
    """(N,) logistic loss of one column of scores, cross entropy of several."""
    if scores.shape[1] == 1:
        return functional.softplus((1 - 2 * labels).to(scores.dtype) * scores[:, 0])
    return functional.cross_entropy(scores, labels, reduction="none")


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    chosen = (scores[:, 0] > 0).to(labels.dtype) if scores.shape[1] == 1 else scores.argmax(1)
    return float((chosen == labels).double().mean())
