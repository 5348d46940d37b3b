"""Random patches of images with flips and rotations: each is a function of a seed and its number."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from bilearn.data.images import DataError, NamedImage, stack


@dataclass(frozen=True)
class Patches:
    """Random patches without end; patch ``number`` depends on the seed and its number alone.

    1. A place, uniformly among all places of all images.
    2. With ``rotations``, a rotation by 0, 90, 180 or 270 degrees; with ``flips``, left and right swapped in half of the
       cases. Both together give each of the eight symmetries of the square with the same probability.

    So any process can make any patch, in any order and as often as needed, and nothing has to be stored to go on after an
    interruption but a number (:class:`PatchStream`).

    Args:
        images: (C, H, W) images of any sizes at least that of a patch, all with the same number of channels.
        size: height and width of a patch.
        seed: of places, flips and rotations.
        flips: swap left and right at random.
        rotations: rotate by multiples of 90 degrees at random; patches must be square.

    Raises:
        DataError: if there is no image, one is smaller than a patch, channels differ, or a patch to rotate is not square.
    """

    images: Sequence[NamedImage]
    size: tuple[int, int]
    seed: int = 0
    flips: bool = False
    rotations: bool = False

    def __post_init__(self) -> None:
        rows, columns = self.size
        if not self.images:
            raise DataError("patches: found no image, expected at least one to cut patches from")
        if rows < 1 or columns < 1:
            raise DataError(f"patches: found a size of {rows} x {columns}, expected positive numbers of pixels")
        if self.rotations and rows != columns:
            raise DataError(f"rotations: found patches of {rows} x {columns} pixels, expected square ones")
        for image in self.images:
            channels, height, width = image.pixels.shape
            if height < rows or width < columns:
                raise DataError(
                    f"{image.name}: found {height} x {width} pixels, expected at least {rows} x {columns} for a patch; "
                    "choose smaller patches or remove the image"
                )
            if channels != self.images[0].pixels.shape[0]:
                raise DataError(
                    f"mixed channels: {self.images[0].name} has {self.images[0].pixels.shape[0]} and {image.name} has "
                    f"{channels}; set gray = true"
                )

    def __getitem__(self, number: int) -> NamedImage:
        """Patch ``number`` >= 0."""
        if number < 0:
            raise DataError(f"patches: found number {number}, expected one that is not negative")
        digest = hashlib.sha256(f"bilearn patch {self.seed} {number}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        rows, columns = self.size
        widths = [i.pixels.shape[2] - columns + 1 for i in self.images]
        ends = list(accumulate((i.pixels.shape[1] - rows + 1) * w for i, w in zip(self.images, widths, strict=True)))
        place = int(torch.randint(ends[-1], (), generator=generator))
        turns, mirrored = torch.randint(4, (2,), generator=generator).tolist()
        which = bisect_right(ends, place)
        image = self.images[which]
        top, left = divmod(place - (ends[which - 1] if which else 0), widths[which])
        pixels = image.pixels[:, top : top + rows, left : left + columns]
        if self.rotations:
            pixels = pixels.rot90(turns, (1, 2))
        if self.flips and mirrored % 2:
            pixels = pixels.flip(2)
        return replace(image, pixels=pixels.clone(), name=f"{image.name} patch {number}")

    def draw(self, first: int, count: int) -> list[NamedImage]:
        """Patches ``first``, ..., ``first + count - 1``."""
        return [self[number] for number in range(first, first + count)]


class PatchStream:
    """Patches one batch after the other, from where the last one ended.

    Args:
        patches: what to draw from.
        position: number of the next patch.

    Attributes:
        position: number of the next patch.
    """

    def __init__(self, patches: Patches, position: int = 0) -> None:
        self.patches, self.position = patches, position

    def next(self, count: int) -> Tensor:
        """(count, C, h, w) the next patches, float64.

        Raises:
            DataError: if ``count`` is not positive.
        """
        if count < 1:
            raise DataError(f"patches: found a batch of {count}, expected at least 1")
        batch = stack(self.patches.draw(self.position, count))
        self.position += count
        return batch

    def state_tree(self) -> dict[str, int]:
        """What a checkpoint needs to go on."""
        return {"seed": self.patches.seed, "position": self.position}

    def load_state_tree(self, tree: dict[str, int]) -> None:
        """Go on where the stream that gave ``tree`` was.

        Raises:
            DataError: if it had another seed.
        """
        if tree["seed"] != self.patches.seed:
            raise DataError(
                f"patches: found seed {tree['seed']} in the checkpoint, expected {self.patches.seed}; use the same seed"
            )
        self.position = tree["position"]
