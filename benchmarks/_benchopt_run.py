"""SOBA and SABA of a clone of benchopt/benchmark_bilevel, run by its own classes; started by ``_benchopt.py``.

    python benchmarks/_benchopt_run.py FOLDER JOB RESULT

Needs jax, jaxopt and benchopt, and neither torch nor this library. JOB is an ``.npz`` file with the options, the batches that
this library draws with seed 0, and for real data the samples; RESULT gets x after every ``every`` steps.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax  # pyright: ignore[reportMissingImports]
import numpy as np

jax.config.update("jax_enable_x64", True)


def rank_one(hessians: np.ndarray) -> np.ndarray:
    """(N, n) rows a_i with a_i a_i^T the given (N, n, n)."""
    samples = np.arange(len(hessians))
    k = np.argmax(np.einsum("ijj->ij", hessians), axis=1)
    return hessians[samples, k] / np.sqrt(hessians[samples, k, k])[:, None]


def terms(function: Any) -> dict[str, np.ndarray]:
    """The samples behind a function of the simulation, factored as this library stores them."""
    arrays = {k: np.asarray(v) for k, v in inspect.getclosurevars(function.__wrapped__).nonlocals.items()}
    cross = arrays["cross"]
    samples = np.arange(len(cross))
    row, column = np.unravel_index(np.abs(cross).reshape(len(cross), -1).argmax(1), cross.shape[1:])
    return {
        "lower": rank_one(arrays["hess_inner"]),
        "upper": rank_one(arrays["hess_outer"]),
        "left": cross[samples, :, column] / cross[samples, row, column][:, None],
        "right": cross[samples, row],
        "lower_linear": arrays["linear_inner"],
        "upper_linear": arrays["linear_outer"],
    }


def simulation(job: Any, found: dict[str, np.ndarray]) -> dict[str, Any]:
    from datasets.simulated import Dataset  # type: ignore[import-not-found]

    data = Dataset.get_instance(dim_inner=int(job["size"]), dim_outer=int(job["size"])).get_data()
    for name in ("inner", "outer"):
        found.update({f"{name}.{k}": v for k, v in terms(data[f"pb_{name}"][0]).items()})
    return data


def ridge(job: Any, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Their formulation of ridge weights, its download replaced by the job's samples; starts as the simulation does."""
    source = types.ModuleType("libsvmdata")
    parts = {"ijcnn1": ("features", "labels"), "ijcnn1_test": ("validation_features", "validation_labels")}
    source.fetch_libsvm = lambda name: tuple(job[key] for key in parts[name])  # type: ignore[attr-defined]
    sys.modules["libsvmdata"] = source
    from datasets.ijcnn1 import Dataset  # type: ignore[import-not-found]

    data = Dataset.get_instance().get_data()
    del data["init_var"]
    return data


def permutations(batches: int, draws: int, *seed: int) -> np.ndarray:
    """``draws`` numbers of batches, each once an epoch. Their own sampler goes through the first epoch in the order of the data
    and draws the last batch of every epoch twice."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.permutation(batches) for _ in range(draws // batches + 1)])[:draws]


def same_draws(orders: list[np.ndarray]) -> Callable[..., tuple[Callable[[Any], Any], dict[str, Any]]]:
    """In place of their ``init_sampler``: the first call draws ``orders[0]``, the second ``orders[1]``."""
    waiting = iter(orders)

    def init_sampler(n_samples: int, batch_size: int, key: Any) -> tuple[Callable[[Any], Any], dict[str, Any]]:
        assert n_samples % batch_size == 0
        draws = jax.numpy.asarray(next(waiting))

        def sampler(state: dict[str, Any]) -> Any:
            number = draws[state["position"]]
            return batch_size * number, number, batch_size / n_samples, {**state, "position": state["position"] + 1}

        return sampler, {"batch_order": jax.numpy.arange(n_samples // batch_size), "position": 0}

    return init_sampler


def path(solver: Any, objective: Any, records: int) -> np.ndarray:
    """(records + 1, p) x at the start and after every ``eval_freq`` steps."""
    solver.run_once = lambda *_: None  # a warm-up for timings
    solver.set_objective(**objective.get_objective())
    solver.outer_var, found = objective.outer_var0, list[np.ndarray]()

    def callback() -> bool:
        found.append(np.array(solver.outer_var))
        return len(found) <= records

    solver.run(callback)
    return np.stack(found)


def main(folder: str, job_file: str, result: str) -> None:
    sys.path.insert(0, str(Path(folder).resolve()))
    from benchmark_utils import stochastic_jax_solver  # type: ignore[import-not-found]
    from objective import Objective  # type: ignore[import-not-found]
    from solvers import saba, soba  # type: ignore[import-not-found]

    job, found = np.load(job_file), dict[str, np.ndarray]()
    data = simulation(job, found) if str(job["problem"]) == "simulation" else ridge(job, found)
    objective, own_sampler = Objective(), stochastic_jax_solver.init_sampler
    objective.set_data(**data)
    seeds, draws = range(int(job["seeds"])), len(job["lower_order"])
    batches = [n // int(job["batch"]) for n in (objective.n_samples_inner, objective.n_samples_outer)]
    once = [[permutations(n, draws, seed, level) for level, n in enumerate(batches)] for seed in seeds]
    for name, module in (("SOBA", soba), ("SABA", saba)):

        def run(seed: int, sampler: Any, module: Any = module) -> np.ndarray:
            stochastic_jax_solver.init_sampler = sampler
            options = {"step_size": float(job["step"]), "outer_ratio": float(job["ratio"])}
            options |= {"batch_size": int(job["batch"]), "eval_freq": int(job["every"]), "random_state": seed}
            return path(module.Solver.get_instance(**options), objective, int(job["records"]))

        paths = [run(seed, own_sampler) for seed in seeds]
        found[f"{name}.paths"] = np.stack(paths)
        found[f"{name}.once"] = np.stack([run(seed, same_draws(orders)) for seed, orders in enumerate(once)])
        found[f"{name}.same_draws"] = run(0, same_draws([job["lower_order"], job["upper_order"]]))
        if str(job["problem"]) == "simulation":
            metrics = [objective.metrics(objective.inner_var0, jax.numpy.asarray(p[-1])) for p in paths]
            found[f"{name}.metric"] = np.array([m["value"] for m in metrics])
    np.savez(result, **found)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main(*sys.argv[1:])
