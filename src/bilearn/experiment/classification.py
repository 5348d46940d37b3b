"""Ridge weights of logistic regression learned on validation samples, as a task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn import __version__
from bilearn.distributed import Processes
from bilearn.experiment.build_learning import at_fixed_accuracy, build_estimator, build_optimizer, build_solver
from bilearn.experiment.classification_schema import ClassificationConfig
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.task import LearningTask, Outcome
from bilearn.lower.default import explain_default
from bilearn.lower.minimize import minimize
from bilearn.reduced_objective import ReducedObjective
from bilearn.run_directory import MODEL, RunDirectory
from bilearn.solution import Tolerance
from bilearn.stochastic.data import classification_data
from bilearn.stochastic.problems import RidgeLogistic, classification_figures
from bilearn.stochastic.ridge_energy import RidgeEnergy, ValidationLoss

# distance to the exact classifier at which figures are computed
_DISTANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(LearningTask):
    """See :func:`build_classification`.

    Attributes:
        energy: the lower level.
        test: features and labels that learning never sees.
    """

    config: ClassificationConfig
    energy: RidgeEnergy
    test: tuple[Tensor, Tensor]

    def solver_reason(self) -> tuple[str, str]:
        """See the base class."""
        solver = self.exact.solver
        reason = explain_default(self.energy, self.energy.data()) if solver is None else "it was asked for."
        return (reason.partition(",")[0] if solver is None else solver.name), reason

    def conclude(self, directory: RunDirectory, start: Tensor, theta: Tensor) -> Outcome:
        """Loss and accuracy of both classifiers on every part; ``model.safetensors`` has the learned one."""
        problem = self.energy.problem
        parts = {
            "test": self.test,
            "validation": (problem.validation_features, problem.validation_labels),
            "train": (problem.features, problem.labels),
        }
        metrics: dict[str, Any] = {split: {} for split in parts}
        warnings = []
        coefficients = problem.lower_start
        for stage, coordinates in (("default", start), ("learned", theta)):
            self.exact.parameters.set(coordinates)
            solution = minimize(self.energy, self.energy.data(), tolerance=Tolerance(distance=_DISTANCE), throw=False)
            if not solution.settled:
                warnings.append(f"{stage.capitalize()} classifier: {solution.describe()}")
            coefficients = solution.x[0]
            for split, (features, labels) in parts.items():
                figures = classification_figures(coefficients, features, labels)
                metrics[split][stage] = {name: {"mean": value} for name, value in figures.items()}
        self._save(directory, coefficients)
        return Outcome("samples", metrics, warnings)

    def _save(self, directory: RunDirectory, coefficients: Tensor) -> None:
        from safetensors.torch import save

        weights = self.energy.weights.detach()
        tensors = {"coefficients": coefficients.reshape(-1, self.energy.problem.columns), "ridge_weights": weights}
        directory.write_bytes(MODEL, save({name: t.contiguous() for name, t in tensors.items()}))
        description = {
            "library": "bilearn",
            "library_version": __version__,
            "task": "classification",
            "data": json.loads(self.config.data.model_dump_json()),
        }
        directory.write_model_description(description)


def build_classification(config: ClassificationConfig, processes: Processes | None = None) -> ClassificationTask:
    """Samples, lower level, objective and method of a configuration; sets torch's thread count where it names one.

    Args:
        config: the configuration.
        processes: one process; the single lower level of this task cannot be shared.

    Raises:
        ModuleNotFoundError: without scikit-learn.
        ConfigError: for several processes.
    """
    if processes is not None and processes.count > 1:
        raise ConfigError(
            f"task: found {processes.count} processes for one classifier, whose lower level cannot be divided; "
            "start one process"
        )
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    data = config.data
    seed = config.run.seed if data.seed is None else data.seed
    features, labels, held, held_labels = classification_data(data.source, data.validation + data.test, seed)
    kept = round(len(held_labels) * data.validation / (data.validation + data.test))
    problem = RidgeLogistic(features, labels, held[:kept], held_labels[:kept])
    bounds = config.ridge.weight.bounds
    energy = RidgeEnergy(problem, config.ridge.weight.start, (1e-5, 1e3) if bounds is None else bounds)
    loss = ValidationLoss(problem)
    exact = ReducedObjective(
        energy,
        energy.data(),
        energy.data(),
        loss,
        solver=build_solver(config.solver),
        estimator=build_estimator(config.hypergradient, config.run.seed),
    )
    return ClassificationTask(
        config=config,
        objective=at_fixed_accuracy(exact, config.optimizer.fixed_accuracy),
        exact=exact,
        validation=None,
        optimizer=build_optimizer(config.optimizer, config.run.seed, exact.parameters, loss),
        energy=energy,
        test=(held[kept:], held_labels[kept:]),
    )
