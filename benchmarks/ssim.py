"""Structural similarity and its gradient: ours against torchmetrics, the same numbers.

python benchmarks/ssim.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from _common import arguments, cpu_seconds, machine, show
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from bilearn.losses import SSIMLoss

Loss = Callable[[Tensor, Tensor], Tensor]


def theirs(x: Tensor, target: Tensor) -> Tensor:
    value = structural_similarity_index_measure(x, target, reduction="none", data_range=1.0)
    assert isinstance(value, Tensor)
    return 1 - value.reshape(-1)


def gradient(loss: Loss, x: Tensor, target: Tensor) -> Tensor:
    point = x.clone().requires_grad_()
    return torch.autograd.grad(loss(point, target).sum(), point)[0]


def milliseconds(work: Callable[[], object], images: int, repeats: int) -> float:
    work()
    return 1e3 * cpu_seconds(work, repeats)[0] / images


def row(side: int, images: int, dtype: torch.dtype, repeats: int) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(images, 1, side, side, generator=generator, dtype=dtype)
    x = target + 0.1 * torch.randn(target.shape, generator=generator, dtype=dtype)
    ours = SSIMLoss(1.0)
    cells = [f"{side}", str(dtype).removeprefix("torch.")]
    for slow, fast in (
        (partial(theirs, x, target), partial(ours, x, target)),
        (partial(gradient, theirs, x, target), partial(gradient, ours, x, target)),
    ):
        before, after = milliseconds(slow, images, repeats), milliseconds(fast, images, repeats)
        cells += [f"{before:.3g}", f"{after:.3g}", f"{before / after:.1f}"]
    return [*cells, f"{float((theirs(x, target) - ours(x, target)).abs().max()):.1e}"]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        row(side, images, dtype, options.repeats)
        for side, images in ((32, 120), (64, 30), (256, 4), (512, 1))
        for dtype in (torch.float64, torch.float32)
    ]
    columns = ["side", "dtype", "torchmetrics, ms", "ours", "ratio", "its gradient, ms", "ours", "ratio", "difference"]
    show(f"SSIM, CPU milliseconds for each image, {machine(options.threads)}", columns, rows)


if __name__ == "__main__":
    main()
