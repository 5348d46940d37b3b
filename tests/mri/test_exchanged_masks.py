"""Masks improved by exchanges: the known best mask of a separable score, what stays the same, what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilearn.mri.masks import ExchangeRun, exchange_mask

SHAPE = (6, 5)


def values() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mirrored(grid: Tensor) -> Tensor:
    return grid.flip(0, 1).roll((1, 1), (0, 1))


def separable(masks: Tensor, images: Tensor) -> Tensor:
    """Mean over the images of the sum of the values of the sampled points."""
    return (values() * masks).sum((1, 2))


def start(count: int = 11) -> Tensor:
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))[:count]
    return torch.zeros(30, dtype=torch.bool).index_fill(0, order, True).reshape(SHAPE)


def test_finds_the_best_mask_of_a_separable_score() -> None:
    run = exchange_mask(separable, start(), images=4)
    best = torch.zeros(30, dtype=torch.bool).index_fill(0, values().flatten().topk(11).indices, True).reshape(SHAPE)
    assert torch.equal(run.mask, best)
    assert run.finished
    assert run.score == pytest.approx(float(values()[best].sum()))
    assert sum(run.exchanged) == int((start() & ~best).sum())


def test_lines_are_swapped_whole() -> None:
    first = torch.zeros(SHAPE, dtype=torch.bool)
    first[:2] = True
    run = exchange_mask(separable, first, images=1, unit="rows")
    assert set(run.mask[:, 0].nonzero()[:, 0].tolist()) == set(values().sum(1).topk(2).indices.tolist())
    assert int(run.mask.sum()) == 10


def test_symmetric_masks_stay_symmetric_and_are_the_best_of_these() -> None:
    first = torch.zeros(SHAPE, dtype=torch.bool)
    for i, j in ((0, 1), (1, 2), (2, 2), (1, 0)):
        first[i, j] = first[-i % 6, -j % 5] = True
    run = exchange_mask(separable, first, images=2, symmetric=True)
    assert torch.equal(mirrored(run.mask), run.mask)
    cells = torch.arange(30)
    alone = (-(cells // 5)) % 6 * 5 + (-(cells % 5)) % 5 == cells
    pairs = (values() + mirrored(values())).flatten()[~alone].sort(descending=True).values
    assert run.score == pytest.approx(float(pairs[:8].sum()) / 2)


def test_the_score_never_falls_and_the_count_stays_where_parts_of_the_images_mislead() -> None:
    noise = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def noisy(masks: Tensor, images: Tensor) -> Tensor:
        return torch.einsum("khw,ihw->k", masks.double(), values() + noise[images]) / images.numel()

    seen: list[ExchangeRun] = []
    run = exchange_mask(noisy, start(), images=8, image_batch=2, rounds=6, on_round=seen.append)
    before = float(noisy(start()[None], torch.arange(8))[0])
    scores = [before, *(r.score for r in seen)]
    assert len(seen) >= 1
    assert scores == sorted(scores)
    assert all(int(r.mask.sum()) == 11 for r in seen)
    assert run.score == pytest.approx(float(noisy(run.mask[None], torch.arange(8))[0]))
    assert torch.equal(exchange_mask(noisy, start(), images=8, image_batch=2, rounds=6).mask, run.mask)


def test_counts_what_was_scored() -> None:
    scored = 0

    def counting(masks: Tensor, images: Tensor) -> Tensor:
        nonlocal scored
        scored += masks.shape[0] * images.numel()
        return separable(masks, images)

    assert exchange_mask(counting, start(), images=3, image_batch=2).evaluations == scored


def test_masks_that_leave_no_choice_stay() -> None:
    for mask in (torch.ones(SHAPE, dtype=torch.bool), torch.zeros(SHAPE, dtype=torch.bool)):
        run = exchange_mask(separable, mask, images=2)
        assert run.finished
        assert torch.equal(run.mask, mask)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image_batch: found 5, expected at most the 4 images"):
        exchange_mask(separable, start(), images=4, image_batch=5)
    with pytest.raises(ValueError, match=r"rounds: found 0"):
        exchange_mask(separable, start(), images=4, rounds=0)
    with pytest.raises(ValueError, match=r"sampled in part"):
        exchange_mask(separable, start(), images=4, unit="rows")
    with pytest.raises(ValueError, match=r"score: found \(1,\) with 1 NaN"):
        exchange_mask(lambda masks, images: torch.full((masks.shape[0],), torch.nan), start(), images=4)
