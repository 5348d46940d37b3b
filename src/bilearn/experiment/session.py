"""One experiment from its configuration to a finished run directory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn import __version__
from bilearn.callbacks import Callback, TensorBoard
from bilearn.curvature import Source
from bilearn.distributed import Processes
from bilearn.evaluation import Evaluation
from bilearn.experiment.build_data import Pairs, ProblemData, build_data
from bilearn.experiment.build_learning import at_fixed_accuracy, build_estimator, build_optimizer, build_solver
from bilearn.experiment.build_model import build_energy, build_loss, build_penalty
from bilearn.experiment.environment import environment
from bilearn.experiment.filter_portrait import filter_records, portrait
from bilearn.experiment.load import to_toml
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.schema import ExperimentConfig
from bilearn.experiment.stages import StageResult, image_sets, metric_rows, reconstruct_stage, statistics
from bilearn.experiment.task import LearningTask, Outcome
from bilearn.history import bounded, plain
from bilearn.learner import Learned, Learner
from bilearn.lower.default import explain_default
from bilearn.model import save_model
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.run_directory import RunDirectory
from bilearn.solution import Cost
from bilearn.upper.optimizer import UpperStatus
from bilearn.variational import VariationalEnergy


@dataclass(frozen=True, kw_only=True)
class Experiment(LearningTask):
    """Reconstruction of images or signals.

    Attributes:
        data: training, validation and test pairs, and the operator.
        energy: the energy at its start parameters.
    """

    config: ExperimentConfig
    data: ProblemData
    energy: VariationalEnergy

    def solver_reason(self) -> tuple[str, str]:
        """See the base class."""
        solver = self.exact.solver
        reason = explain_default(self.energy, self.data.train.data) if solver is None else "it was asked for."
        return (reason.partition(",")[0] if solver is None else solver.name), reason

    def conclude(self, directory: RunDirectory, start: Tensor, theta: Tensor) -> Outcome:
        """Reconstruct the test images with the start and the learned parameters; write model, figures and pictures."""
        config, energy, parameters = self.config, self.energy, self.exact.parameters
        test = self.data.test
        split = "test" if test is not None else "train"
        pairs = self.data.train if test is None else test
        stages: dict[str, StageResult] = {"noisy": StageResult.of_data(energy, pairs)}
        portraits: dict[str, dict[str, np.ndarray]] = {}
        for stage, coordinates in (("default", start), ("learned", theta)):
            parameters.set(coordinates)
            stages[stage] = reconstruct_stage(energy, pairs)
            portraits[stage] = portrait(energy.regularizer, pairs.truth)
        save_model(directory.path, energy, model_extra(config, self.data))
        directory.write_metrics(metric_rows(split, pairs, stages))
        many = {name: value for name, value in parameters.natural().items() if value.numel() > 1}
        maps = {name: value.squeeze().cpu().numpy() for name, value in many.items()}
        directory.write_images(image_sets(energy, pairs, stages, config.run.pictures), maps, filter_records(portraits))
        return Outcome("images", {split: statistics(stages)}, _warnings(self, stages))


def build(config: ExperimentConfig, processes: Processes | None = None) -> Experiment:
    """Data, energy, objectives and upper-level method of a configuration; sets torch's thread count where it names one.

    The 'default' reconstruction of an experiment is the one at the start values of its parameters.

    Args:
        config: the configuration.
        processes: who shares the work; each builds the same experiment, on its own device.

    Raises:
        DataError, ConfigError: one sentence on what does not fit.
    """
    if processes is not None and processes.device is not None:
        run = config.run.model_copy(update={"device": str(processes.device)})
        config = config.model_copy(update={"run": run})
    _check_device(config.run.device)
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    data = build_data(config)
    if processes is not None and len(data.train) < processes.count:
        raise ConfigError(
            f"data.train: found {len(data.train)} training images for {processes.count} processes, expected at least one "
            "for each; start fewer processes or use more images"
        )
    energy = build_energy(config.fidelity, config.regularizer, data.operator, data.image_shape, config.run.seed)
    energy.fidelity.to(config.run.device)
    energy.regularizer.to(config.run.device)
    loss, solver = build_loss(config.loss), build_solver(config.solver)

    def objective(pairs: Pairs, penalized: bool) -> ReducedObjective:
        return ReducedObjective(
            energy,
            pairs.data,
            pairs.truth,
            loss,
            build_penalty(config.penalty) if penalized else None,
            solver=solver,
            estimator=build_estimator(config.hypergradient, config.run.seed),
            batch_size=config.run.batch_size,
            processes=processes,
            shards=config.run.shards,
        )

    training = objective(data.train, True)
    validation = None if data.validation is None else objective(data.validation, False)
    optimizer = build_optimizer(config.optimizer, config.run.seed, training.parameters, loss)
    seen = at_fixed_accuracy(training, config.optimizer.fixed_accuracy)
    return Experiment(
        config=config,
        data=data,
        energy=energy,
        objective=seen,
        exact=training,
        validation=validation,
        optimizer=optimizer,
    )


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=torch.device(name))
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"run.device: found '{name}', which torch cannot use here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from None


def learn(
    experiment: LearningTask, directory: RunDirectory, callbacks: Sequence[Callback] = (), resume: bool = False
) -> Learned:
    """Run an experiment and leave a complete run directory, also when it is interrupted or fails to converge.

    Several processes all call it; the first one writes.

    1. Write the resolved configuration and the environment.
    2. Learn, with records and checkpoints.
    3. Evaluate the objective at the answer to ``run.final_accuracy``; reconstruct the test images with the start and the
       learned parameters; write model, metrics, pictures and summary.

    Args:
        experiment: what :func:`build` made of a configuration.
        directory: where everything is written.
        callbacks: watchers.
        resume: continue from the last checkpoint of ``directory``.

    Returns:
        The result; ``status`` says how it ended.
    """
    config, first = experiment.config, experiment.objective.processes.first
    if first and not resume:
        directory.write_config(to_toml(config))
        count = experiment.objective.processes.count
        directory.write_environment(environment(config.run.seed, config.run.device, config.run.dtype, count))
    start = experiment.objective.parameters.get()
    board = first and config.run.tensorboard
    watchers = [*callbacks, *([TensorBoard(directory.path / "tensorboard")] if board else [])]
    learner = Learner(
        experiment.objective,
        experiment.optimizer,
        experiment.validation,
        watchers,
        directory,
        config.run.max_steps,
        config.run.seconds,
        config.run.patience,
        config.run.checkpoint_every,
        config.run.max_gradients,
    )
    learned = learner.run(resume)
    cost = experiment.objective.cost.copy()
    final = _final_evaluation(experiment, learned)
    experiment.objective.processes.share(lambda: _finish(experiment, directory, start, learned, cost, final))
    return learned


def _finish(
    task: LearningTask, directory: RunDirectory, start: Tensor, learned: Learned, cost: Cost, final: Evaluation | None
) -> None:
    parameters = task.exact.parameters
    outcome = task.conclude(directory, start, learned.theta)
    name, reason = task.solver_reason()
    directory.write_summary(
        {
            "name": task.config.name,
            "description": task.config.description,
            "status": learned.status.value,
            "solver": {"name": name, "reason": reason},
            "optimizer": task.optimizer.name,
            "steps": learned.steps,
            "start": None if learned.start is None else vars(learned.start),
            "final": None if final is None else vars(bounded(final)),
            "parameters": _parameter_entries(parameters, start, learned.theta),
            "samples": outcome.samples,
            "metrics": outcome.metrics,
            "cost": cost.as_dict(),
            "seconds": learned.seconds,
            "library_version": __version__,
            "warnings": [*_endings(learned, final), *outcome.warnings],
        }
    )


def _final_evaluation(experiment: LearningTask, learned: Learned) -> Evaluation | None:
    """F at the answer to the final accuracy; None where nothing was evaluated before an interrupt."""
    if learned.start is None:
        return None
    objective, relative = experiment.exact, experiment.config.run.final_accuracy
    known = objective.value(learned.theta)
    if not math.isfinite(known.value) or known.value == 0:
        return known
    return objective.value(learned.theta, relative * abs(known.value))


def model_extra(config: ExperimentConfig, data: ProblemData) -> dict[str, Any]:
    """What ``model.json`` says besides the energy: how data were made and prepared."""
    return {
        "name": config.name,
        "dtype": config.run.dtype,
        "image_shape": list(data.image_shape),
        "gray": config.data.gray,
        "physics": config.physics.model_dump(mode="json", exclude_none=True),
        "noise": config.noise.model_dump(mode="json", exclude_none=True),
        "seed": config.run.seed,
    }


def _parameter_entries(parameters: ParameterVector, start: Tensor, theta: Tensor) -> dict[str, Any]:
    first, last = parameters.natural(start), parameters.natural(theta)
    entries = {}
    for slot in parameters.slots:
        part = slice(slot.start, slot.stop)
        slack = 1e-9 * (parameters.upper[part] - parameters.lower[part]).abs().clamp(max=1.0)
        low = int((theta[part] <= parameters.lower[part] + slack).sum())
        high = int((theta[part] >= parameters.upper[part] - slack).sum())
        many = slot.stop - slot.start > 1
        one = "lower" if low else "upper" if high else None
        entries[slot.name] = {
            "value": plain(last[slot.name]),
            "start": plain(first[slot.name]),
            "lower_bound": slot.coordinate.bounds[0],
            "upper_bound": slot.coordinate.bounds[1],
            "coordinate": slot.coordinate.label,
            "entries": slot.stop - slot.start,
            "at_bound": {"lower": low, "upper": high} if many else one,
        }
    return entries


def _endings(learned: Learned, final: Evaluation | None) -> list[str]:
    """Sentences on how learning ended."""
    found = []
    if learned.status is UpperStatus.NON_FINITE:
        found.append(
            "Learning stopped at a non-finite value; the parameters are those of the best finite point. "
            "Narrow the bounds, start elsewhere, or use float64."
        )
    if final is not None and final.message:
        found.append(f"Final objective: {final.message}")
    return found


def _warnings(experiment: Experiment, stages: dict[str, StageResult]) -> list[str]:
    """Sentences on constants and reconstructions."""
    found = []
    constants = experiment.energy.curvature(experiment.data.train.data)
    if constants.strong_convexity.source is Source.ESTIMATED or constants.smoothness.source is Source.ESTIMATED:
        found.append("Curvature constants were estimated, not declared; bounds that use them are not certified.")
    found += [
        f"{name.capitalize()} reconstruction: {result.message}" for name, result in stages.items() if result.message
    ]
    return found
