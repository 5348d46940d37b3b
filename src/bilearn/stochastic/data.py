"""Classification problems on data that ship with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bilearn.stochastic.problems import HyperCleaning, RidgeLogistic

DataName = Literal["breast-cancer", "digits"]


def classification_data(
    name: DataName, validation: float = 0.3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features and labels for training, features and labels for validation.

    Features are standardized with the mean and deviation of the training part, in float64, with a column of ones.

    Args:
        name: "breast-cancer" (569 samples, 30 features, 2 classes) or "digits" (1797 images of 8 x 8, 10 classes).
        validation: part of the samples for validation.
        seed: of the split.

    Raises:
        ValueError: if the name or the part is not as expected.
        ModuleNotFoundError: without scikit-learn.
    """
    if name not in ("breast-cancer", "digits"):
        raise ValueError(f"name: found {name!r}, expected 'breast-cancer' or 'digits'")
    if not 0 < validation < 1:
        raise ValueError(f"validation: found {validation}, expected a number between 0 and 1")
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scikit-learn is needed for its data sets: pip install 'bilearn[classification]'"
        ) from error
    read = datasets.load_breast_cancer if name == "breast-cancer" else datasets.load_digits
    numbers, classes = read(return_X_y=True)
    features, labels = torch.from_numpy(numbers).double(), torch.from_numpy(classes).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held, kept = order.split([round(validation * len(labels)), len(labels) - round(validation * len(labels))])
    mean, deviation = features[kept].mean(0), features[kept].std(0)
    scaled = (features - mean) / torch.where(deviation > 0, deviation, 1.0)
    with_ones = torch.cat((scaled, torch.ones_like(scaled[:, :1])), 1)
    return with_ones[kept], labels[kept], with_ones[held], labels[held]


def ridge_logistic(name: DataName, validation: float = 0.3, seed: int = 0) -> RidgeLogistic:
    """Learn a ridge weight for each feature; arguments as in :func:`classification_data`."""
    return RidgeLogistic(*classification_data(name, validation, seed))


def hyper_cleaning(
    name: DataName, wrong: float = 0.5, validation: float = 0.3, seed: int = 0, ridge: float = 0.2
) -> tuple[HyperCleaning, Tensor]:
    """Find the training samples whose labels were replaced at random.

    Args:
        name, validation, seed: as in :func:`classification_data`.
        wrong: part of the training labels that are replaced by another class.
        ridge: of the lower level.

    Returns:
        The problem, and which of its training samples are wrong (N,).

    Raises:
        ValueError: if ``wrong`` is not in (0, 1).
    """
    if not 0 < wrong < 1:
        raise ValueError(f"wrong: found {wrong}, expected a number between 0 and 1")
    features, labels, validation_features, validation_labels = classification_data(name, validation, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    count = 1 + int(labels.max())
    replaced = torch.rand(len(labels), generator=generator) < wrong
    shift = torch.randint(1, count, labels.shape, generator=generator)
    spoiled = torch.where(replaced, (labels + shift) % count, labels)
    return HyperCleaning(features, spoiled, validation_features, validation_labels, ridge), replaced
