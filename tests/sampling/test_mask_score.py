"""Scores of many masks at once against masks solved one by one to machine precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilearn.losses import SimilarityError, UpperLoss
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import FreePattern, sampling_energy
from bilearn.mri.masks import greedy_mask, low_pass
from bilearn.regularizers import SmoothedTV
from bilearn.sampling import ReconstructionScore
from bilearn.solution import Tolerance

SIDE = 12


def prior() -> SmoothedTV:
    return SmoothedTV(0.02, 1e-2, 2e-2, learn=(), coupled=True)


def pairs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    truth = torch.zeros(3, 2, SIDE, SIDE, dtype=torch.float64)
    for image in truth:
        i, j = (int(n) for n in torch.randint(1, 6, (2,), generator=generator))
        image[0, i : i + 5, j : j + 4] = 1
    kspace = torch.fft.fft2(torch.complex(truth[:, 0], truth[:, 1]), norm="ortho")
    clean = torch.stack((kspace.real, kspace.imag), 1)
    return truth, clean + 0.02 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def alone(mask: Tensor, images: Tensor, loss: UpperLoss | None) -> float:
    truth, kspace = pairs()
    energy = sampling_energy(FreePattern(mask.double(), learn=False), prior())
    x = minimize(energy, kspace[images], NewtonCG(), tolerance=Tolerance(distance=1e-10)).x
    if loss is None:
        return -float((x - truth[images]).square().mean())
    return -float(loss(x, truth[images]).mean())


@pytest.mark.parametrize("loss", [None, SimilarityError(0.01, 0.05)])
def test_scores_are_those_of_single_masks_in_any_order(loss: UpperLoss | None) -> None:
    truth, kspace = pairs()
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(5, SIDE, SIDE, generator=generator) < 0.4
    images = torch.tensor([2, 0])
    score = ReconstructionScore(prior(), kspace, truth, loss, accuracy=1e-7)
    expected = torch.tensor([alone(mask, images, loss) for mask in masks], dtype=torch.float64)
    torch.testing.assert_close(score(masks, images), expected, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(score(masks.flip(0), images).flip(0), expected, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(score(masks[:1], images), expected[:1], rtol=1e-5, atol=0.0)


def test_the_greedy_choice_is_the_best_of_all_cells() -> None:
    truth, kspace = pairs()
    start = low_pass((SIDE, SIDE), 9)
    run = greedy_mask(ReconstructionScore(prior(), kspace, truth), start, 10, images=3)
    everything = torch.arange(3)
    values = torch.full((SIDE * SIDE,), -torch.inf, dtype=torch.float64)
    for cell in (~start).flatten().nonzero()[:, 0].tolist():
        mask = start.clone()
        mask.view(-1)[cell] = True
        values[cell] = alone(mask, everything, None)
    assert run.order == (int(values.argmax()),)
    assert run.gains[0] == pytest.approx(float(values.max()), rel=1e-3)


def test_accuracy_must_be_positive() -> None:
    truth, kspace = pairs()
    with pytest.raises(ValueError, match="accuracy: found 0"):
        ReconstructionScore(prior(), kspace, truth, accuracy=0)
