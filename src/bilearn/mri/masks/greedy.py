"""Masks built cell by cell, each time adding what improves the reconstructions most: the reconstructor in the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice, Unit


class MaskScore(Protocol):
    """How good masks are, larger is better (mean PSNR of reconstructions, minus a mean squared error, ...)."""

    def __call__(self, masks: Tensor, images: Tensor) -> Tensor:
        """One score per mask.

        Args:
            masks: (K, H, W) boolean, without shift.
            images: (L,) numbers of the training images to average over.

        Returns:
            (K,) real numbers.
        """
        ...


def one_by_one(score: Callable[[Tensor], float]) -> MaskScore:
    """The :class:`MaskScore` of a function of one mask (H, W), which always averages over all images."""

    def scores(masks: Tensor, images: Tensor) -> Tensor:
        return torch.tensor([score(mask) for mask in masks], dtype=torch.float64)

    return scores


@dataclass(frozen=True)
class GreedyRun:
    """What a greedy search has chosen so far; enough to continue it, and to read off the mask at every smaller count.

    Attributes:
        start: (H, W) boolean mask that the search began with.
        unit: points, rows or columns.
        order: cells in the order in which they were added, as flat numbers of :class:`bilearn.mri.masks.Lattice`.
        gains: score of each step's first choice, on the images of that step.
        evaluations: masks that were scored, each one on one image counting once.
    """

    start: Tensor
    unit: Unit
    order: tuple[int, ...] = ()
    gains: tuple[float, ...] = ()
    evaluations: int = 0

    @property
    def lattice(self) -> Lattice:
        """The cells."""
        return Lattice((self.start.shape[0], self.start.shape[1]), self.unit)

    @property
    def count(self) -> int:
        """Samples of the largest mask."""
        return int(self.start.sum()) + len(self.order) * self.lattice.samples_per_cell

    def mask(self, count: int | None = None) -> Tensor:
        """Boolean mask (H, W) with exactly ``count`` samples (all chosen ones if None); masks are nested.

        Raises:
            ValueError: fewer samples than the start has, more than were chosen, or not a number of whole lines.
        """
        wanted = self.count if count is None else count
        lattice = self.lattice
        first = int(self.start.sum())
        if not first <= wanted <= self.count:
            raise ValueError(f"count: found {wanted}, expected {first} (the start) to {self.count} (chosen so far)")
        cells = torch.tensor(self.order[: lattice.cell_count(wanted) - lattice.cell_count(first)], dtype=torch.long)
        return lattice.mask(lattice.cells_of(self.start).index_fill(0, cells, True))

    def to_tree(self) -> dict[str, Any]:
        """Plain tensors, numbers and lists for ``torch.save``."""
        return {
            "start": self.start,
            "unit": self.unit,
            "order": list(self.order),
            "gains": list(self.gains),
            "evaluations": self.evaluations,
        }

    @staticmethod
    def from_tree(tree: dict[str, Any]) -> GreedyRun:
        """Inverse of :meth:`to_tree`."""
        return GreedyRun(
            tree["start"], tree["unit"], tuple(tree["order"]), tuple(tree["gains"]), int(tree["evaluations"])
        )


def greedy_mask(
    score: MaskScore,
    start: Tensor | GreedyRun,
    count: int,
    *,
    unit: Unit = "points",
    candidates: Tensor | None = None,
    images: int = 1,
    batch: int | None = None,
    image_batch: int | None = None,
    per_step: int = 1,
    chunk: int = 32,
    seed: int = 0,
    on_step: Callable[[GreedyRun], None] | None = None,
) -> GreedyRun:
    """Add cells until the mask has ``count`` samples, each time the one with the best score.

    1. Of the cells that may still be added, take all of them, or ``batch`` random ones.
    2. Score the present mask plus each of them on all images, or on ``image_batch`` random ones.
    3. Add the best one (the first in storage among equals), or the ``per_step`` best ones; repeat.

    With all candidates and images this is the greedy algorithm of Gözcü et al. (IEEE Trans. Med. Imaging 37, 2018), with
    random ones the stochastic greedy algorithm of Sanchez et al. (IEEE ICASSP 2020). One run gives nested masks for all
    smaller counts. The random choices of a step depend on ``seed`` and on the number of cells added before it only, so a
    search that is continued from the :class:`GreedyRun` of one of its steps goes on as if it had not stopped.

    Args:
        score: of masks on images.
        start: (H, W) boolean mask to begin with, or the run to continue.
        count: samples of the final mask.
        unit: points, rows or columns; for a run that is continued, its own.
        candidates: (H, W) boolean mask of the cells that may be added; all if None.
        images: number of training images.
        batch: candidates scored in a step; all if None.
        image_batch: images in a step; all if None.
        per_step: cells added in a step. More than one is cheaper, and a departure from both papers.
        chunk: masks passed to ``score`` at once.
        seed: of the random choices.
        on_step: called after each step, for records and checkpoints.

    Returns:
        The run; ``run.mask(count)`` is the mask.

    Raises:
        ValueError: a count that is smaller than the start's, not a number of whole lines or more than candidates allow, a
            unit other than the run's, nonpositive numbers, or scores of a wrong shape or NaN.
    """
    numbers = {"images": images, "batch": batch, "image_batch": image_batch, "per_step": per_step, "chunk": chunk}
    for field, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"{field}: found {value}, expected a number >= 1")
    run = start if isinstance(start, GreedyRun) else GreedyRun(start.cpu().clone(), unit)
    if isinstance(start, GreedyRun) and unit != run.unit:
        raise ValueError(f"unit: found {unit!r}, expected {run.unit!r} like the run that is continued")
    lattice = run.lattice
    chosen = lattice.cells_of(run.mask())
    allowed = torch.ones_like(chosen) if candidates is None else lattice.cells_of(candidates)
    missing = lattice.cell_count(count) - int(chosen.sum())
    free = int((allowed & ~chosen).sum())
    if not 0 <= missing <= free:
        raise ValueError(
            f"count: found {count}, expected {run.count} (the start) to {run.count + free * lattice.samples_per_cell} "
            "(all candidates added)"
        )
    while missing > 0:
        generator = np.random.default_rng((seed, len(run.order)))
        cells = _some(torch.nonzero(allowed & ~chosen)[:, 0], batch, generator)
        used = _some(torch.arange(images), image_batch, generator)
        flags = (torch.stack([chosen.index_fill(0, cell, True) for cell in part]) for part in cells.split(chunk))
        scores = torch.cat([scores_of(score, lattice, part, used) for part in flags])
        ranking = torch.argsort(scores, descending=True, stable=True)[: min(per_step, missing)]
        chosen[cells[ranking]] = True
        missing -= ranking.numel()
        run = replace(
            run,
            order=(*run.order, *cells[ranking].tolist()),
            gains=(*run.gains, float(scores[ranking[0]])),
            evaluations=run.evaluations + cells.numel() * used.numel(),
        )
        if on_step is not None:
            on_step(run)
    return run


def _some(values: Tensor, number: int | None, generator: np.random.Generator) -> Tensor:
    """``number`` random values in their order, or all."""
    if number is None or number >= values.numel():
        return values
    return values[torch.from_numpy(np.sort(generator.choice(values.numel(), number, replace=False)))]


def scores_of(score: MaskScore, lattice: Lattice, flags: Tensor, images: Tensor) -> Tensor:
    """Scores (K,) of the masks whose cells are flagged in the rows of ``flags`` (K, cells), float64 on the CPU.

    Raises:
        ValueError: scores of a wrong shape or NaN.
    """
    masks = torch.stack([lattice.mask(row) for row in flags])
    found = score(masks, images).detach().cpu().double()
    if found.shape != flags.shape[:1] or bool(found.isnan().any()):
        raise ValueError(
            f"score: found {tuple(found.shape)} with {int(found.isnan().sum())} NaN, expected {len(flags)} numbers, one "
            "per mask"
        )
    return found
