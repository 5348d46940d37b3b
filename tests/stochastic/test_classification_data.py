"""Ridge weights and data cleaning on data that ship with scikit-learn."""

from __future__ import annotations

import pytest
import torch

from bilearn.stochastic import (
    SABA,
    classification_data,
    exact,
    hyper_cleaning,
    ridge_logistic,
    run_stochastic,
)
from bilearn.upper import Fixed


def test_split_is_standardized_and_seeded() -> None:
    a, c, b, d = classification_data("breast-cancer")
    assert (len(a), len(b), a.shape[1]) == (398, 171, 31)
    assert torch.allclose(a[:, :-1].mean(0), torch.zeros(30, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(a[:, :-1].std(0), torch.ones(30, dtype=torch.float64))
    assert len(c) == len(a)
    assert len(d) == len(b)
    assert torch.equal(a, classification_data("breast-cancer")[0])
    assert not torch.equal(c, classification_data("breast-cancer", seed=1)[1])
    assert classification_data("digits")[0].shape[1] == 65


def test_saba_learns_ridge_weights_on_real_data() -> None:
    problem = ridge_logistic("breast-cancer")
    result = run_stochastic(SABA(step_size=Fixed(0.1), ratio=0.02), problem, 600, record_every=600)
    first, last = result.records[0], result.records[-1]
    assert last.gradient_norm < 0.5 * first.gradient_norm
    assert last.value < 0.6 * first.value
    assert problem.accuracy(exact(problem, result.x).z) > 0.95


def test_cleaning_finds_wrong_labels() -> None:
    problem, wrong = hyper_cleaning("breast-cancer", wrong=0.3)
    result = run_stochastic(SABA(step_size=Fixed(0.1), ratio=1e-4), problem, 150, record_every=150)
    weights = torch.sigmoid(result.x)
    assert float(weights[wrong].mean()) < float(weights[~wrong].mean()) - 0.2
    assert result.records[-1].value < result.records[0].value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classification_data("iris"), "name: found 'iris'"),  # type: ignore[arg-type]
        (lambda: classification_data("digits", validation=1.0), r"validation: found 1\.0"),
        (lambda: hyper_cleaning("digits", wrong=0.0), r"wrong: found 0\.0"),
    ],
)
def test_bad_options_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
