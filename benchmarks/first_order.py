"""MAID on smoothed TV, two parameters, from five start accuracies; and adaptive against fixed lower-level accuracy.

    python benchmarks/first_order.py FOLDER --threads 2           # 25 PNG crops, squashed to 96 x 96

The setting of Salehi et al. (2025): noise 0.1, 1/2|x-y|^2 + alpha sum sqrt(|grad x|^2 + nu^2), mean of 1/2 squared errors,
(log alpha, log nu) from (-5, -5). A start accuracy (eps, delta) becomes a first gradient accuracy of eps + delta, the order
of the error they cause. One gradient before the clock starts pays for what torch sets up once.
``OPTIMUM`` is where Gauss-Newton ends with a certified interval of 1e-8; ``--optimum`` recomputes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _common import arguments, machine, show
from PIL import Image

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.upper import (
    HOAG,
    LBFGSB,
    MAID,
    FixedAccuracy,
    GaussNewton,
    Geometric,
    ProjectedGradient,
    UpperOptimizer,
    UpperState,
    UpperStatus,
    run,
)
from bilearn.variational import VariationalEnergy

OPTIMUM = 8.512697
PIXELS = 96
ACCURACIES = [(10.0, 100.0), (1.0, 1.0), (0.1, 0.1), (1e-3, 1e-3), (1e-5, 1e-5)]
MILESTONES = (0.3, 0.1)


def objective(folder: str) -> ReducedObjective:
    """The problem, float64, at its start; the ridge that the paper does not have is 1e-7."""
    size = (PIXELS, PIXELS)
    images = [
        Image.open(f).convert("L").resize(size, Image.Resampling.BILINEAR) for f in sorted(Path(folder).glob("*.png"))
    ]
    x = torch.from_numpy(np.stack([np.asarray(image, dtype=np.float64) / 255.0 for image in images])).unsqueeze(1)
    noise = np.random.RandomState(19).randn(*x.shape)
    start = math.exp(-5.0)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(start, 1e-7, start, learn=("alpha", "nu")))
    estimator = ImplicitHypergradient(error="estimate")
    return ReducedObjective(energy, x + 0.1 * torch.from_numpy(noise), x, SquaredError(0.5), estimator=estimator)


def race(name: str, optimizer: UpperOptimizer, oracle: ReducedObjective, max_steps: int = 60) -> list[list[str]]:
    """One row for each milestone: when the current point was that close to the optimum, by its own value."""
    reached: dict[float, list[str]] = {}
    begin, begin_cpu = time.perf_counter(), time.process_time()

    def note(state: UpperState) -> UpperStatus | None:
        for percent in MILESTONES:
            if percent not in reached and state.current.value <= OPTIMUM * (1 + percent / 100):
                seconds = [f"{time.perf_counter() - begin:.2f}", f"{time.process_time() - begin_cpu:.2f}"]
                work = [oracle.cost.gradients, oracle.cost.hessian_products, state.evaluations]
                reached[percent] = seconds + [f"{n:,}" for n in work] + [f"{state.current.value:.5f}"]
        return UpperStatus.EARLY_STOP if len(reached) == len(MILESTONES) else None

    status = run(optimizer, oracle, max_steps=max_steps, callback=note).status
    missing = [f"never: {status.value}", "", "", "", "", ""]
    return [[name, f"{percent:g} %", *reached.get(percent, missing)] for percent in MILESTONES]


def optimum(folder: str) -> None:
    problem = objective(folder)
    state = run(GaussNewton(), problem)
    final = problem.value(state.best.theta, 1e-8)
    theta = ", ".join(f"{t * math.log(10.0):.6f}" for t in state.best.theta.tolist())
    print(f"F in [{final.lower:.8f}, {final.upper:.8f}] at (log alpha, log nu) = ({theta}); {state.status.value}")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("folder", help="folder with the PNG crops")
    parser.add_argument("--optimum", action="store_true", help="recompute the optimum and stop")
    parser.add_argument("--baselines", action="store_true", help="also other methods and fixed accuracies")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.optimum:
        optimum(options.folder)
        return
    warm = objective(options.folder)
    warm.hypergradient(warm.parameters.get())
    rows: list[list[str]] = []
    for eps, delta in ACCURACIES:
        rows += race(f"MAID from ({eps:g}, {delta:g})", MAID(initial_accuracy=eps + delta), objective(options.folder))
    if options.baselines:
        fixed: list[tuple[str, Callable[[ReducedObjective], FixedAccuracy]]] = [
            ("tolerance 1e-2", lambda o: FixedAccuracy(o, distance=1e-2, trusted=True)),
            ("tolerance 1e-4", lambda o: FixedAccuracy(o, distance=1e-4, trusted=True)),
            ("100 steps", lambda o: FixedAccuracy(o, steps=100, trusted=True)),
            ("1000 steps", lambda o: FixedAccuracy(o, steps=1000, trusted=True)),
        ]
        for name, view in fixed:
            rows += race(f"MAID, fixed {name}", MAID(), view(objective(options.folder)))
        for optimizer in (HOAG(Geometric(1.0, 0.8)), ProjectedGradient(), LBFGSB()):
            rows += race(optimizer.name, optimizer, objective(options.folder))
    columns = ["method", "within", "s", "CPU s", "gradients", "Hessian products", "evaluations", "F"]
    show(f"TV, 25 crops of {PIXELS} x {PIXELS}, float64, {machine(options.threads)}", columns, rows)


if __name__ == "__main__":
    main()
