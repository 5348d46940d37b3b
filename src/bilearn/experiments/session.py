"""Running an experiment part by part into a directory that is usable at every moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from bilearn.experiment.environment import environment
from bilearn.experiments import experiment_class
from bilearn.experiments.drawing import draw
from bilearn.experiments.experiment import Experiment
from bilearn.experiments.records import FAILED, FINISHED, INTERRUPTED, RESULTS, RUNNING, Results, plain
from bilearn.run_records import encode

Progress = Callable[[int, int, str], None]
"""Called with the number of finished parts, of all parts, and what is under way."""


def new_directory(name: str, output: str | Path | None = None) -> Path:
    """The directory asked for, or the first free ``runs/NAME-001``, ``runs/NAME-002``, ...; created.

    Raises:
        FileExistsError: if the directory asked for is not empty; results are never overwritten.
        NotADirectoryError: if a file of that name exists.
    """
    if output is not None:
        path = Path(output)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"--output: {path} is a file; choose another path")
        if path.is_dir() and any(path.iterdir()):
            state = f"holds {RESULTS} of an experiment; resume it" if (path / RESULTS).exists() else "is not empty"
            raise FileExistsError(f"--output: {path} {state}, or choose another path")
        path.mkdir(parents=True, exist_ok=True)
        return path
    for number in count(1):
        path = Path("runs") / f"{name}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")


def run_experiment(experiment: Experiment, directory: Path, progress: Progress | None = None) -> Results:
    """Compute every part, record it, and draw; the thread count is the caller's.

    ``results.json`` is replaced after every part. Ctrl-C ends the run with status "interrupted", and what is recorded is
    drawn. An error is recorded as status "failed" and raised again, after drawing.

    Args:
        experiment: what to run.
        directory: an existing directory, empty.
        progress: called before every part and at the end.

    Returns:
        The records, as written.
    """
    surroundings = environment(experiment.seed, "cpu", "float64")
    results = Results(experiment.name, encode(experiment.options(), "options"), surroundings)
    return _advance(experiment, results, directory, progress)


def resume_experiment(directory: Path, progress: Progress | None = None) -> Results:
    """Compute the parts that an interrupted experiment has not recorded, as :func:`run_experiment` would.

    Raises:
        FileNotFoundError: if the directory holds no records.
        ValueError: if the records are damaged, or of another version.
    """
    results = Results.read(directory)
    experiment = experiment_class(results.experiment).from_options(results.options)
    return _advance(experiment, results, directory, progress)


def _advance(experiment: Experiment, results: Results, directory: Path, progress: Progress | None) -> Results:
    experiment.check()
    parts = experiment.parts()
    results.status = RUNNING
    results.write(directory)
    try:
        for position, part in enumerate(parts):
            if part.key in results.parts:
                continue
            if progress is not None:
                progress(position, len(parts), part.label)
            begin = time.perf_counter()
            results.parts[part.key] = encode(plain(part.compute(results.parts)), part.key)
            results.seconds += time.perf_counter() - begin
            results.write(directory)
        results.status = FINISHED
    except KeyboardInterrupt:
        results.status = INTERRUPTED
    except BaseException:
        results.status = FAILED
        raise
    finally:
        results.write(directory)
        if results.parts:
            draw(directory)
    if progress is not None:
        progress(len(parts) if results.status == FINISHED else len(results.parts), len(parts), results.status)
    return results
