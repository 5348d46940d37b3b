"""Learning the numbers outside of the pattern, the pattern fixed."""

from __future__ import annotations

from bilearn.evaluation import Evaluation
from bilearn.sampling.problem import SamplingProblem
from bilearn.sampling.stage import Stages
from bilearn.upper import default_optimizer

_STEPS = 30


def tune(problem: SamplingProblem, stages: Stages, name: str, tolerance: float = 1e-4) -> Evaluation:
    """The mean loss at the learnable numbers outside of the pattern that minimize it, as a certified evaluation.

    Gauss-Newton from the present values, over their logarithms, or L-BFGS-B for a loss without residuals; where nothing is
    learnable there, the loss as it is.

    Args:
        problem: the training problem; its energy is left at the answer.
        stages: records.
        name: of the stage.
        tolerance: stop when the gradient is below this part of the loss.
    """
    if not problem.learns_rest:
        objective = problem.objective(None, pattern=True, rest=False)
        return objective.value(objective.parameters.get())
    objective = problem.objective(None, pattern=False)
    chosen = default_optimizer(objective.parameters, problem.least_squares)
    best, _ = stages.run(name, objective, type(chosen)(gradient_tolerance=tolerance), _STEPS)
    objective.parameters.set(best.theta)
    return best
