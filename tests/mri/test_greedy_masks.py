"""Greedy masks: the known best mask of a separable score, nested masks, stochastic steps, continued runs."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bilearn.mri.masks import (
    GreedyBaseline,
    GreedyRun,
    MaskScore,
    greedy_mask,
    low_pass,
    mean_energy,
    one_by_one,
    sample_count,
)

SHAPE = (6, 5)


def empty() -> Tensor:
    return torch.zeros(SHAPE, dtype=torch.bool)


def values() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def separable(masks: Tensor, images: Tensor) -> Tensor:
    """Sum of the values of the sampled points; every image adds the same."""
    return (values() * masks).sum((1, 2)) * images.numel()


def test_finds_the_best_mask_of_a_separable_score() -> None:
    run = greedy_mask(separable, empty(), 11)
    best = torch.zeros(30, dtype=torch.bool).index_fill(0, values().flatten().topk(11).indices, True).reshape(SHAPE)
    assert torch.equal(run.mask(), best)
    assert run.evaluations == sum(30 - k for k in range(11))
    assert run.gains == pytest.approx(values().flatten().sort(descending=True).values.cumsum(0)[:11].tolist())


def test_finds_the_best_lines() -> None:
    for unit, axis in (("rows", 1), ("columns", 0)):
        run = greedy_mask(separable, empty(), 3 * SHAPE[axis], unit=unit)
        sums = values().sum(axis)
        assert set(run.order) == set(sums.topk(3).indices.tolist())
        assert int(run.mask().sum()) == 3 * SHAPE[axis]


def test_a_score_of_one_mask_and_several_cells_a_step() -> None:
    one = greedy_mask(one_by_one(lambda mask: float((values() * mask).sum())), empty(), 12, chunk=7)
    three = greedy_mask(separable, empty(), 12, per_step=3)
    assert one.order == three.order
    assert three.evaluations == 30 + 27 + 24 + 21


def test_masks_of_one_run_are_nested_and_start_with_the_start() -> None:
    start = empty()
    start[0, :2] = True
    run = greedy_mask(separable, start, 14, batch=4, seed=3)
    masks = [run.mask(count) for count in range(2, 15)]
    assert torch.equal(masks[0], start)
    assert [int(m.sum()) for m in masks] == list(range(2, 15))
    assert all(bool((b | ~a).all()) for a, b in pairwise(masks))


def test_stochastic_steps_use_subsets() -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []

    def score(masks: Tensor, images: Tensor) -> Tensor:
        seen.append((masks.shape[0], tuple(images.tolist())))
        return separable(masks, images)

    run = greedy_mask(score, empty(), 10, batch=6, images=8, image_batch=2, seed=1)
    assert all(masks == 6 and len(set(images)) == 2 for masks, images in seen)
    assert len({images for _, images in seen}) > 3
    assert run.evaluations == 10 * 6 * 2
    other = greedy_mask(separable, empty(), 10, batch=6, images=8, image_batch=2, seed=2)
    assert run.order != other.order


def test_candidates_limit_the_choice() -> None:
    allowed = empty()
    allowed[2:4] = True
    run = greedy_mask(separable, empty(), 10, candidates=allowed)
    assert torch.equal(run.mask(), allowed)


def test_a_continued_run_equals_an_uninterrupted_one() -> None:
    whole = greedy_mask(separable, empty(), 12, batch=5, images=4, image_batch=2, seed=9)
    steps: list[GreedyRun] = []
    greedy_mask(separable, empty(), 12, batch=5, images=4, image_batch=2, seed=9, on_step=steps.append)
    assert steps[-1].order == whole.order
    buffer = io.BytesIO()
    torch.save(steps[6].to_tree(), buffer)
    buffer.seek(0)
    kept = GreedyRun.from_tree(torch.load(buffer, weights_only=True))
    resumed = greedy_mask(separable, kept, 12, batch=5, images=4, image_batch=2, seed=9)
    assert resumed.order == whole.order
    assert resumed.gains == whole.gains
    assert resumed.evaluations == whole.evaluations


def test_errors_name_the_field() -> None:
    with pytest.raises(ValueError, match="count: found 31, expected 0"):
        greedy_mask(separable, empty(), 31)
    with pytest.raises(ValueError, match="count: found 6, expected 0"):
        greedy_mask(separable, empty(), 6, candidates=torch.eye(6, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="batch: found 0"):
        greedy_mask(separable, empty(), 3, batch=0)
    with pytest.raises(ValueError, match="score: found"):
        greedy_mask(lambda masks, images: torch.full((1,), torch.nan), empty(), 3)
    run = greedy_mask(separable, empty(), 4)
    with pytest.raises(ValueError, match="unit: found 'rows'"):
        greedy_mask(separable, run, 10, unit="rows")
    with pytest.raises(ValueError, match="count: found 5, expected 0"):
        run.mask(5)


def zero_filling(images: Tensor) -> MaskScore:
    """Energy of the images that a mask keeps: minus the squared error of zero filling, up to a constant."""
    energy = torch.stack([mean_energy(x[None]).reshape(SHAPE) for x in images])
    return lambda masks, used: (energy[used].mean(0) * masks).sum((1, 2))


def test_greedy_search_as_a_baseline() -> None:
    images = torch.rand((3, 2, *SHAPE), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    count = sample_count(SHAPE, 0.4)
    mask = GreedyBaseline("greedy", zero_filling, start_share=0.2).draw(SHAPE, count, 0, images)
    start = low_pass(SHAPE, 2)
    energy = mean_energy(images).reshape(SHAPE).masked_fill(start, torch.inf)
    assert int(mask.sum()) == count
    assert float(energy[mask].min()) >= float(energy[~mask].max())
    stochastic = GreedyBaseline("stochastic greedy", zero_filling, batch=3, image_batch=1)
    first, again, other = (stochastic.draw(SHAPE, 10, seed, images, "rows") for seed in (1, 1, 3))
    assert torch.equal(first, again)
    assert int(first.sum()) == int(other.sum()) == 10
    with pytest.raises(ValueError, match="unit: found 'rows'"):
        GreedyBaseline("greedy", zero_filling, units=("points",)).draw(SHAPE, 10, 0, images, "rows")
