from __future__ import annotations

import torch
from synthetic_oracles import FREUDENSTEIN_ROTH

from bilearn.evaluation import Evaluation
from bilearn.lower import NesterovGradient
from bilearn.problems import three_parameters
from bilearn.upper import GaussNewton, UpperState, UpperStatus, run


def test_leniency_saves_work_and_a_run_ends_with_a_proved_gradient() -> None:
    """Bounds may be far larger than wanted while steps succeed; the end of a run does not rest on belief."""
    work = []
    for leniency in (1.0, GaussNewton().leniency):
        problem = three_parameters(1e-6)
        problem.objective.solver = NesterovGradient()
        limit = 1.01 * problem.optimum

        def near(state: UpperState, limit: float = limit) -> UpperStatus | None:
            return UpperStatus.EARLY_STOP if state.best.upper <= limit else None

        state = run(GaussNewton(leniency=leniency), problem.objective, problem.start, callback=near)
        assert state.status is UpperStatus.EARLY_STOP
        work.append(problem.objective.cost.gradients)
    assert work[1] < 0.8 * work[0], work
    state = run(GaussNewton(), FREUDENSTEIN_ROTH.oracle("above"))
    assert state.leniency == 1.0
    assert abs(state.best.value / FREUDENSTEIN_ROTH.optimum - 1) < 1e-6


def test_a_bad_point_far_away_is_rejected_without_a_gradient() -> None:
    """From this start of reg6 the third point is a hundred times worse than the second, and its lower level the costliest."""
    problem = three_parameters(1e-6)
    problem.objective.solver = NesterovGradient()
    seen: list[Evaluation] = []
    problem.objective.observer = seen.append
    start = torch.tensor([-0.4397, -1.2788, -1.2689], dtype=torch.float64)
    state = run(GaussNewton(), problem.objective, start, max_steps=4)
    bad = [e for e in seen if e.lower > 2 * state.best.upper and e is not seen[0]]
    assert bad
    assert all(e.gradient is None for e in bad)
    assert max(e.cost.gradients for e in bad) < 20_000
    assert state.best.value < 3.5
