"""Deterministic splits that keep all crops of one photograph on one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bilearn.data.images import DataError, NamedImage


@dataclass(frozen=True)
class Split:
    """Training, validation and test images."""

    train: tuple[NamedImage, ...]
    validation: tuple[NamedImage, ...]
    test: tuple[NamedImage, ...]


def split_groups(
    images: Sequence[NamedImage], train: int | None, validation: int, test: int, generator: torch.Generator | None
) -> Split:
    """Distribute images by group: no group (photograph, file) contributes to two parts.

    1. Order the groups: as given, or shuffled where a generator is given.
    2. Fill the test part with groups until it holds ``test`` images, then validation, then training; surplus images of
       the last group of a part are left out.

    Args:
        images: the images, with their groups.
        train: number of training images; None takes all that are left.
        validation: number of validation images.
        test: number of test images.
        generator: shuffles the groups; None keeps their order.

    Raises:
        DataError: if there are not enough images or groups; the message says how many there are.
    """
    groups: dict[str, list[NamedImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    order = list(groups)
    if generator is not None:
        order = [order[i] for i in torch.randperm(len(order), generator=generator).tolist()]
    found = f"found {len(images)} images from {len(order)} files"
    parts: dict[str, list[NamedImage]] = {}
    for part, wanted in (("test", test), ("validation", validation), ("train", train)):
        chosen: list[NamedImage] = []
        while order and (wanted is None or len(chosen) < wanted):
            chosen += groups[order.pop(0)]
        if wanted is not None and len(chosen) < wanted:
            raise DataError(
                f"{part}: {found}, too few for {wanted} {part} images after the other parts (test {test}, validation "
                f"{validation}; crops of one file stay in one part); ask for fewer, raise crops_per_image or add images"
            )
        parts[part] = chosen[:wanted]
    if not parts["train"]:
        raise DataError(f"train: {found}, none is left for training after test = {test} and validation = {validation}")
    return Split(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]))
