"""Two processes give the answers of one."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_work import (
    METHODS,
    PIXELS,
    POINT,
    SAMPLES,
    evaluations,
    objective,
    runs,
    start,
    vectors,
)
from torch import Tensor

from bilearn.distributed import Processes, Shards, backend_of, launched
from bilearn.evaluation import Evaluation
from bilearn.learner import Learner
from bilearn.run_directory import RunDirectory
from bilearn.upper import LBFGSB


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes found: the folder they wrote into, and the findings of each."""
    folder = tmp_path_factory.mktemp("two")
    processes = start(folder)
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert ends[0][1] == 0, ends[0][0]
    assert ends[1][1] == 3, ends[1][0]
    return folder, [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal up to the rounding of a sum."""
    if isinstance(a, Tensor):
        tight = 1e-6 if a.dtype == torch.float32 else 1e-12
        return a.dtype == b.dtype and torch.allclose(
            a, b, rtol=tight, atol=tight * float(a.abs().max()), equal_nan=True
        )
    if isinstance(a, float):
        return a == pytest.approx(b, rel=1e-12, nan_ok=True)
    return a == b


def test_every_evaluation_is_that_of_one_process_to_rounding(two: tuple[Path, list[dict[str, Any]]]) -> None:
    alone = evaluations(Processes())
    for findings in two[1]:
        assert set(findings["evaluations"]) == set(alone)
        for name, expected in alone.items():
            found = findings["evaluations"][name]
            for field in fields(Evaluation):
                if field.name != "seconds":
                    a, b = getattr(expected, field.name), getattr(found, field.name)
                    assert (a is None) == (b is None), f"{name}: {field.name}"
                    assert a is None or same(a, b), f"{name}: {field.name}: {a} and {b}"
    assert alone["gauss-newton"].jacobian_gram is not None
    assert "non-finite" in alone["non-finite"].message
    assert alone["unbiased, float32"].losses.dtype == torch.float32
    assert "was not reached" in alone["beyond budget"].message


def test_the_number_of_shards_changes_answers_within_their_bounds(two: tuple[Path, list[dict[str, Any]]]) -> None:
    whole = objective(Processes(), shards=1)
    exact = whole.hypergradient(POINT, 1e-10)
    for shards in (1, 2, 3, 7, 9):
        found = objective(Processes(), shards=shards).hypergradient(POINT)
        assert float((found.gradient - exact.gradient).norm()) <= found.gradient_bound + 1e-10
        assert found.gradient_bound <= 1.02e-3 * float(found.gradient.norm())
        assert found.lower <= exact.value <= found.upper
        assert found.losses.shape == (SAMPLES,)
        tight = objective(Processes(), shards=shards).hypergradient(POINT, 1e-7)
        assert tight.gradient_bound <= 1e-7
    assert two[1][0]["evaluations"]["accurate value"].bound <= 1e-6


def test_what_is_kept_per_sample_is_put_together(two: tuple[Path, list[dict[str, Any]]]) -> None:
    alone = vectors(Processes())
    for findings in two[1]:
        for name, expected in alone.items():
            found = findings["vectors"][name]
            assert (expected is None) == (found is None)
            assert expected is None or same(expected, found), name
    assert alone["before"] is None
    assert alone["reconstructions"].shape == (SAMPLES, 1, PIXELS)
    assert alone["residual vectors"].shape == (SAMPLES, PIXELS)
    assert alone["restored"] == SAMPLES


def test_whole_runs_and_resumed_ones_take_the_same_steps(
    two: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    alone = runs(Processes(), tmp_path)
    for findings in two[1]:
        for name, expected in alone.items():
            for a, b in zip(expected, findings["runs"][name], strict=True):
                assert same(a, b), f"{name}: {a} and {b}"
    for name in METHODS:
        rows = [
            [json.loads(line) for line in (folder / name / "history.jsonl").read_text().splitlines()]
            for folder in (tmp_path, two[0])
        ]
        assert len(rows[0]) == len(rows[1]) > 2
        for a, b in zip(*rows, strict=True):
            assert a["cost"] == b["cost"]
            assert a["value"] == pytest.approx(b["value"], rel=1e-12)


def test_one_process_resumes_the_run_of_two(two: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    def run(path: Path, resume: bool) -> Any:
        method = METHODS["adam"]
        return Learner(objective(Processes()), method, directory=RunDirectory(path), max_steps=4).run(resume)

    assert two[1][0]["interruption"]["status"] == "INTERRUPTED"
    (tmp_path / "whole").mkdir()
    whole, resumed = run(tmp_path / "whole", False), run(two[0] / "interrupted", True)
    assert same(whole.theta, resumed.theta)


def test_an_interrupt_or_the_clock_ends_all_processes_after_the_same_step(
    two: tuple[Path, list[dict[str, Any]]],
) -> None:
    first, second = (findings["interruption"] for findings in two[1])
    assert first == second == {"status": "INTERRUPTED", "steps": 2, "hurried": ("BUDGET", 0)}


def test_a_failure_in_one_process_is_told_in_all_and_hangs_none(two: tuple[Path, list[dict[str, Any]]]) -> None:
    first, second = (findings["refusals"] for findings in two[1])
    assert first["failure"].startswith("ProcessError: processes: found a failure in process 1 of 2")
    assert second["failure"] == "ValueError: this sample is cursed"
    for found in (first, second):
        assert "expected the same theta and accuracy in all" in found["different theta"]
        assert "expected the same theta and accuracy in all" in found["different requests"]
        assert found["shared"] == 42
        assert "ZeroDivisionError" in found["shared failure"]
        assert "no checkpoint" in found["no checkpoint"]
        assert found["verdict"] is True
        assert found["alive"] == first["alive"]
    assert "did not answer within 4 s" in two[1][0]["late"]["message"]
    assert "lost the others" in two[1][0]["death"]["message"]


def test_shards_are_contiguous_and_as_many_in_each_process() -> None:
    class Second(Processes):
        rank, count = 1, 2

    shards = Shards(7, 4, Second())
    assert shards.kept == [(0, 4), (4, 7)]
    assert shards.own == (4, 7)
    places = shards.positions(torch.tensor([6, 0, 3, 4, 1]))
    assert [p.tolist() for p in places] == [[1, 4], [2], [3], [0]]
    assert [p.tolist() for p in shards.hosted(places)] == [[3], [0]]
    with pytest.raises(ValueError, match="shards: found 3 for 2 processes, expected a positive multiple"):
        Shards(7, 3, Second())
    sparse = Shards(1, 4, Second())
    assert sparse.own == (1, 1)
    assert [p.tolist() for p in sparse.positions(torch.tensor([0]))] == [[0], [], [], []]


def test_without_torchrun_there_is_one_process_and_ctrl_c_is_python_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with launched() as processes:
        assert (processes.rank, processes.count, processes.first) == (0, 1, True)
        assert processes.agree(False) is False
    with pytest.raises(ValueError, match="timeout: found 0, expected a positive number"), launched(timeout=0):
        pass


def test_the_backend_follows_from_the_device() -> None:
    assert backend_of(torch.device("cpu")) == "gloo"
    assert backend_of(torch.device("cuda:1")) == "nccl"
    with pytest.raises(ValueError, match="device: found 'meta', expected 'cpu' or 'cuda'"):
        backend_of(torch.device("meta"))


def test_a_run_may_be_resumed_with_another_number_of_shards(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    Learner(objective(Processes(), 2), LBFGSB(), directory=RunDirectory(tmp_path / "run"), max_steps=1).run()
    training = objective(Processes(), 1)
    again = Learner(training, LBFGSB(), directory=RunDirectory(tmp_path / "run"), max_steps=2).run(True)
    assert again.steps == 2
    assert again.state is not None
    exact = objective(Processes(), 1).value(again.state.best.theta, 1e-10)
    assert again.state.best.lower <= exact.value <= again.state.best.upper
