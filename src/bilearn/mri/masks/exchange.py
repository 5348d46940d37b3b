"""Masks improved by exchanges that are measured: the reconstructor in the loop, for any score of reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.mri.masks.greedy import MaskScore, scores_of
from bilearn.mri.masks.lattice import Lattice, Unit
from bilearn.mri.pattern import mirrored

_FEWER = 2 / 3


@dataclass(frozen=True)
class ExchangeRun:
    """Where a search by exchanges stands.

    Attributes:
        mask: (H, W) boolean, with as many samples as the start.
        score: of the mask on all images.
        exchanged: cells that were swapped, round by round.
        evaluations: masks that were scored, each one on one image counting once.
        finished: whether the last round found nothing better.
    """

    mask: Tensor
    score: float
    exchanged: tuple[int, ...] = ()
    evaluations: int = 0
    finished: bool = False


def exchange_mask(
    score: MaskScore,
    start: Tensor,
    *,
    images: int,
    unit: Unit = "points",
    symmetric: bool = False,
    image_batch: int | None = None,
    rounds: int = 10,
    chunk: int = 16,
    seed: int = 0,
    on_round: Callable[[ExchangeRun], None] | None = None,
) -> ExchangeRun:
    """Swap sampled cells with others while the score grows; the number of samples stays.

    1. Score the mask with each further cell added and with each of its cells dropped, on all images or on ``image_batch``
       random ones.
    2. Pair the most useful additions with the cells that are missed least, in this order, as long as the two changes
       together promise a gain.
    3. Score the mask with all these pairs swapped, with two thirds of them, and so on down to the first one, on all images;
       keep the best set if it is better than the mask.
    4. Repeat until a round keeps nothing.

    Unlike a greedy search it takes samples back; unlike the gradients of :func:`bilearn.sampling.learn_sampling` it needs no
    derivative of the score, and one round costs as many scores as there are cells. Starting from a good mask a few rounds
    are enough. It is the exchange (local search) method for choosing a subset of given size; nothing is promised but that
    the score on the training images never falls.

    Args:
        score: of masks on images, larger is better.
        start: (H, W) boolean mask.
        images: number of training images.
        unit: points, rows or columns.
        symmetric: swap k and -k together: half as many candidates, and half as many choices to fit the noise with. Cells
            of the start of which only one of both is sampled are left alone.
        image_batch: images in step 1; all if None.
        rounds: most rounds.
        chunk: masks passed to ``score`` at once.
        seed: of the random choices.
        on_round: called after each round that kept something.

    Raises:
        ValueError: numbers that are not positive, more images in a batch than there are, or a mask of partial cells.
    """
    for field, value in (("images", images), ("rounds", rounds), ("chunk", chunk), ("image_batch", image_batch or 1)):
        if value < 1:
            raise ValueError(f"{field}: found {value}, expected a number >= 1")
    if image_batch is not None and image_batch > images:
        raise ValueError(f"image_batch: found {image_batch}, expected at most the {images} images")
    lattice = Lattice((start.shape[0], start.shape[1]), unit)
    groups = _Groups.of(lattice, symmetric)
    everything = torch.arange(images)

    def scored(flags: Tensor, used: Tensor) -> Tensor:
        return torch.cat([scores_of(score, lattice, part, used) for part in flags.split(chunk)])

    flags = lattice.cells_of(start)
    run = ExchangeRun(start.cpu().clone(), float(scored(flags[None], everything)[0]), evaluations=images)
    for number in range(rounds):
        generator = torch.Generator().manual_seed(seed + number)
        used = (
            everything if image_batch is None else torch.randperm(images, generator=generator)[:image_batch].sort()[0]
        )
        free, taken = groups.among(~flags), groups.among(flags)
        size = min(free.numel(), taken.numel())
        if size == 0:
            return replace(run, finished=True)
        base = float(scored(flags[None], used)[0])
        gains, first_free = (scored(groups.flipped(flags, free), used) - base).sort(descending=True)
        losses, first_taken = (scored(groups.flipped(flags, taken), used) - base).sort(descending=True)
        add, drop, together = free[first_free], taken[first_taken], gains[:size] + losses[:size]
        counts = _counts(int((together > 0).sum()))
        spent = run.evaluations + (1 + free.numel() + taken.numel()) * used.numel() + len(counts) * images
        if not counts:
            return replace(run, evaluations=spent, finished=True)
        tried = torch.cat([groups.flipped(flags, torch.cat((add[:n], drop[:n])), together=True) for n in counts])
        scores = scored(tried, everything)
        best = int(scores.argmax())
        if float(scores[best]) <= run.score:
            return replace(run, evaluations=spent, finished=True)
        swapped = int((tried[best] != flags).sum()) // 2
        flags = tried[best]
        run = ExchangeRun(lattice.mask(flags), float(scores[best]), (*run.exchanged, swapped), spent)
        if on_round is not None:
            on_round(run)
    return run


@dataclass(frozen=True)
class _Groups:
    """Cells that are swapped together: each alone, or k with -k; all groups have the same size.

    Attributes:
        members: (G, 1 or 2) cells.
    """

    members: Tensor

    @staticmethod
    def of(lattice: Lattice, symmetric: bool) -> _Groups:
        cells = torch.arange(lattice.size)
        if not symmetric:
            return _Groups(cells[:, None])
        opposite = mirrored(cells.reshape(lattice.sides)).reshape(-1)
        first = cells < opposite
        return _Groups(torch.stack((cells[first], opposite[first]), 1))

    def among(self, flags: Tensor) -> Tensor:
        """Numbers of the groups all of whose cells are flagged."""
        return flags[self.members].all(1).nonzero()[:, 0]

    def flipped(self, flags: Tensor, groups: Tensor, together: bool = False) -> Tensor:
        """(K, cells) flags with one group turned over in each row, or (1, cells) with all of them."""
        if together:
            cells = self.members[groups].reshape(-1)
            return flags.index_put((cells,), ~flags[cells])[None]
        rows = flags.repeat(groups.numel(), 1)
        return rows ^ torch.zeros_like(rows).scatter_(1, self.members[groups], True)


def _counts(largest: int) -> list[int]:
    """The largest number, two thirds of it, and so on down to one."""
    counts: list[int] = []
    while largest >= 1:
        counts.append(largest)
        largest = int(_FEWER * largest)
    return counts
