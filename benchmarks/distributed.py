"""Throughput of one process against several, one thread each, on the same work.

    python benchmarks/distributed.py

A pass is ``--points`` hypergradients (relative accuracy 1e-3, warm starts dropped before every pass) of smoothed-TV denoising
of ``--images`` random piecewise constant images, float64. One process computes all shards, several share them; both give
the same values to rounding and count the same work, which is checked. Wall time decides how long a run takes; it needs as
many idle cores as processes. The CPU time of the busiest process says what the sharing itself costs, also on a busy machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _common import arguments, machine, show

from bilearn.distributed import Processes, launched
from bilearn.fidelities import LeastSquares
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy

EXCHANGES = 200


def work(processes: Processes, images: int, size: int, points: int, repeats: int, shards: int) -> dict[str, Any]:
    """Seconds of every pass in this process, and what was computed."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(images, 1, 8, 8, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    y = x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV())
    thetas = torch.tensor([-1.0, -2.0, -2.0], dtype=torch.float64) + 0.1 * torch.arange(points)[:, None]
    objective = ReducedObjective(energy, y, x, processes=processes, shards=shards)
    objective.hypergradient(thetas[0])
    wall, cpu, values, gradients = [], [], [], 0
    for _ in range(repeats):
        objective.forget()
        processes.agree(True)
        before, begin, begin_cpu = objective.cost.gradients, time.perf_counter(), time.process_time()
        values = [objective.hypergradient(theta).value for theta in thetas]
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
        gradients = objective.cost.gradients - before
    begin = time.perf_counter()
    for _ in range(EXCHANGES):
        processes.exchange(("nothing",), lambda: torch.zeros(1, 100, dtype=torch.float64))
    latency = (time.perf_counter() - begin) / EXCHANGES
    return {"wall": wall, "cpu": cpu, "values": values, "gradients": gradients, "latency": latency}


def several(count: int, *numbers: int) -> list[dict[str, Any]]:
    """The findings of ``count`` processes, which torchrun starts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        subprocess.run(
            [*command, __file__, "--worker", folder, *map(str, numbers)],
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(count)]


def unconnected(count: int, images: int, *numbers: int) -> list[dict[str, Any]]:
    """The findings of ``count`` processes side by side, each with its part of the images and no knowledge of the others."""
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder) / str(k) for k in range(count)]
        running = []
        for own in folders:
            own.mkdir()
            command = [sys.executable, __file__, "--worker", str(own), str(images // count), *map(str, numbers)]
            running.append(subprocess.Popen(command, env=environment | {"OMP_NUM_THREADS": "1"}))
        failed = [process.wait() for process in running]
        assert not any(failed), f"exit codes {failed}"
        return [json.loads((own / "0.json").read_text()) for own in folders]


def worker(folder: str, *numbers: str) -> None:
    torch.set_num_threads(1)
    with launched() as processes:
        images, size, points, repeats, shards = map(int, numbers)
        found = work(processes, images, size, points, repeats, shards)
        (Path(folder) / f"{processes.rank}.json").write_text(json.dumps(found))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--processes", type=int, default=2, help="processes that share the work")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="side of an image in pixels")
    parser.add_argument("--points", type=int, default=4, help="hypergradients in a pass")
    options = parser.parse_args()
    count = options.processes
    numbers = (options.images, options.size, options.points, options.repeats)
    runs = {
        "1 process, 1 shard": several(1, *numbers, 1),
        f"1 process, {count} shards": several(1, *numbers, count),
        f"{count} processes, {count} shards": several(count, *numbers, count),
        f"{count} unconnected processes": unconnected(count, *numbers, 1),
    }
    rows, single = [], runs["1 process, 1 shard"][0]
    alone, alone_cpu = statistics.median(single["wall"]), statistics.median(single["cpu"])
    for name, found in runs.items():
        wall = statistics.median(max(passes) for passes in zip(*(f["wall"] for f in found), strict=True))
        cpu = [statistics.median(f["cpu"]) for f in found]
        rows.append(
            [
                name,
                f"{wall:.2f}",
                f"{alone / wall:.2f}",
                " ".join(f"{seconds:.2f}" for seconds in cpu),
                f"{alone_cpu / max(cpu):.2f}",
                str(found[0]["gradients"]),
                f"{1e6 * found[0]['latency']:.0f}",
            ]
        )
    same, shared = runs[f"1 process, {count} shards"][0], runs[f"{count} processes, {count} shards"]
    error = max(abs(a - b) / abs(a) for f in shared for a, b in zip(same["values"], f["values"], strict=True))
    assert error <= 1e-12, f"values differ by {error:.1e}"
    assert all(f["gradients"] == same["gradients"] for f in shared), "work differs"
    columns = ["", "wall s", "wall ratio", "CPU s each", "CPU ratio", "gradients of the first", "us per exchange"]
    show(
        f"{options.points} hypergradients of {options.images} x {options.size}^2, medians of {options.repeats}, {machine(1)}",
        columns,
        rows,
    )
    print(f"largest relative difference of values, same shards: {error:.1e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
