"""Cost against the number of images and pixels, memory against the number of lower-level steps.

    python benchmarks/scaling.py

One hypergradient of smoothed-TV denoising (three parameters, relative accuracy 1e-3) on random piecewise constant images.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import torch
from _common import arguments, machine, show
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower import NesterovGradient, minimize
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

THETA = torch.tensor([-1.0, -2.0, -2.0], dtype=torch.float64)


def images(count: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 8, 8, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    return x, x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def energy() -> VariationalEnergy:
    return VariationalEnergy(LeastSquares(), SmoothedTV())


def hypergradient(count: int, size: int) -> tuple[float, int, int]:
    x, y = images(count, size)
    objective = ReducedObjective(energy(), y, x)
    begin = time.process_time()
    result = objective.hypergradient(THETA)
    return time.process_time() - begin, result.cost.gradients // count, result.cost.hessian_products // count


def peak_megabytes(steps: int) -> float:
    """Peak memory of a process that takes ``steps`` lower-level steps."""
    code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); import scaling; scaling.solve({steps})"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(out.stdout.strip().splitlines()[-1])


def solve(steps: int) -> None:
    _, y = images(4, 256)
    minimize(energy(), y, NesterovGradient(), tolerance=Tolerance(gradient=1e-300), max_steps=steps, throw=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    hypergradient(1, 64)
    rows = []
    for count, size in ((1, 128), (4, 128), (16, 128), (64, 128), (4, 256), (4, 512), (4, 1024)):
        seconds, gradients, products = hypergradient(count, size)
        work = count * size * size * (gradients + products)
        rows.append(
            [f"{count} x {size}^2", f"{seconds:.2f}", str(gradients), str(products), f"{seconds / work * 1e9:.2f}"]
        )
    columns = ["images", "CPU s", "gradients per image", "products per image", "ns per pixel and product"]
    show(f"one hypergradient, float64, {machine(options.threads)}", columns, rows)
    show(
        "peak memory of a process, 4 x 256^2",
        ["lower-level steps", "MB"],
        [[str(steps), f"{peak_megabytes(steps):.0f}"] for steps in (10, 100, 1000)],
    )


if __name__ == "__main__":
    main()
