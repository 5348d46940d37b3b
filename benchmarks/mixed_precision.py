"""What solving in float32 and certifying in float64 saves: smoothed-TV denoising on the CPU.

    python benchmarks/mixed_precision.py

CPU seconds with and without ``MixedPrecision``: cold lower-level solves to a relative distance, one cold hypergradient (whose
adjoint system stays in float64), and a short L-BFGS-B run, where warm starts leave little to do. Same tolerances and
certificates on both sides.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _common import arguments, cpu_seconds, machine, show
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower import LowerSolver, MixedPrecision, NesterovGradient, NewtonCG, minimize
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.upper import LBFGSB, run
from bilearn.variational import VariationalEnergy

THETA = torch.tensor([-1.0, -2.0, -2.0], dtype=torch.float64)


def images(count: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 8, 8, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    return x, x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def energy() -> VariationalEnergy:
    made = VariationalEnergy(LeastSquares(), SmoothedTV())
    ParameterVector(made).set(THETA)
    return made


def solve(y: Tensor, relative: float) -> Callable[[LowerSolver], object]:
    tolerance = Tolerance(distance=relative * float(torch.linalg.vector_norm(y[0])))
    return lambda solver: minimize(energy(), y, solver, tolerance=tolerance)


def hypergradient(x: Tensor, y: Tensor, accuracy: float | None) -> Callable[[LowerSolver], object]:
    return lambda solver: ReducedObjective(energy(), y, x, solver=solver).hypergradient(THETA, accuracy)


def learn(x: Tensor, y: Tensor) -> Callable[[LowerSolver], object]:
    return lambda solver: run(LBFGSB(), ReducedObjective(energy(), y, x, solver=solver), THETA, max_steps=6)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for count, size in ((8, 64), (4, 256)):
        x, y = images(count, size)
        tasks = {f"solve, {relative:.0e}": solve(y, relative) for relative in (1e-2, 1e-4, 1e-6, 1e-8)}
        tasks |= {"hypergradient, 1e-3 relative": hypergradient(x, y, None), "6 steps of L-BFGS-B": learn(x, y)}
        for task, work in tasks.items():
            for solver in (NewtonCG(), NesterovGradient()) if task.startswith("solve") else (NewtonCG(),):
                plain, _ = cpu_seconds(lambda w=work, s=solver: w(s), options.repeats)
                mixed, _ = cpu_seconds(lambda w=work, s=solver: w(MixedPrecision(s)), options.repeats)
                rows.append(
                    [f"{count} x {size}^2, {task}", solver.name, f"{plain:.3f}", f"{mixed:.3f}", f"{plain / mixed:.2f}"]
                )
    columns = ["", "method", "float64, CPU s", "mixed, CPU s", "ratio"]
    show(f"medians of {options.repeats}, {machine(options.threads)}", columns, rows)


if __name__ == "__main__":
    main()
