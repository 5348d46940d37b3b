"""Experiments on sampling patterns in tiny forms: equal counts, certified values, tables that say what the records say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bilearn.experiments import EXPERIMENTS, experiment_class
from bilearn.experiments.contents import Table
from bilearn.experiments.records import Results, numbers, plain, unpacked
from bilearn.experiments.sampling_baselines import SamplingBaselines
from bilearn.experiments.sampling_patterns import SamplingPatterns
from bilearn.experiments.sampling_regularizers import SamplingRegularizers
from bilearn.experiments.sampling_sparsity import SamplingSparsity
from bilearn.experiments.sampling_training import SamplingTraining
from bilearn.experiments.sampling_warm_up import SamplingWarmUp, bump
from bilearn.experiments.session import run_experiment
from bilearn.run_records import encode
from bilearn.sampling_study.comparison import paired

TINY = {"size": 12, "count": 1, "test_count": 1, "steps": 1, "exchanges": 0, "regularizer": "h1"}


def test_warm_up_draws_page_and_figures(tmp_path):
    results = run_experiment(SamplingWarmUp.quick(**TINY), tmp_path)
    masks = results.below("mask")
    assert {record["samples"] for record in masks.values()} == {14}
    for record in masks.values():
        assert float(record["lower"]) <= float(record["loss"]) <= float(record["upper"])
        assert unpacked(record["mask"]).sum() == 14
    page = (tmp_path / "report.html").read_text()
    assert "largest coefficients" in page
    for name in ("masks", "reconstructions"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_bump_is_smooth_and_centered():
    image = bump(32)[0]
    assert image[0, 16, 16] == 1
    assert float(image[1].abs().max()) == 0
    assert float((image[0] - image[0].flip(0).roll(1, 0)).abs().max()) < 1e-12


def test_baselines_have_the_learned_number_of_samples(tmp_path):
    experiment = SamplingBaselines.quick(
        **TINY, rates=(0.25,), pattern="columns", baselines=("low-pass", "greedy", "straight-through"), greedy_steps=2,
        greedy_batch=2,
    )  # fmt: skip
    results = run_experiment(experiment, tmp_path)
    records = results.below("rate", "36")
    assert list(records) == ["learned", "low-pass", "greedy", "straight-through"]
    assert all(record["samples"] == 36 for record in records.values())
    difference = paired(records["learned"], records["low-pass"], "psnr")
    psnr = [float(numbers(records[key]["quality"]["psnr"])[0]) for key in ("learned", "low-pass")]
    assert difference.mean == pytest.approx(psnr[0] - psnr[1])
    assert (tmp_path / "quality-against-rate.png").exists()
    assert "learned minus it" in (tmp_path / "report.html").read_text()


def test_regularizers_cross_table():
    results = computed(SamplingRegularizers.quick(**TINY, regularizers=("none", "h1")))
    assert set(results.parts) == {"learned/none", "learned/h1", "cross/none/h1", "cross/h1/none"}
    own, other = results.parts["learned/none"], results.parts["cross/none/h1"]
    assert np.array_equal(unpacked(own["mask"]), unpacked(other["mask"]))
    tables = [c for s in SamplingRegularizers.sections(results) for c in s.contents if isinstance(c, Table)]
    row = tables[0].rows[0]
    assert row[0] == "none (ridge)"
    assert row[1] == f"{float(numbers(own['quality']['psnr'])[0]):.2f}"
    assert row[2].startswith(f"{float(numbers(other['quality']['psnr'])[0]):.2f} (")


def test_sparsity_and_training_record_their_variable():
    sparsity = computed(SamplingSparsity.quick(**TINY, betas=(1e-3,)))
    assert sparsity.parts["beta/0.001"]["beta"] == 1e-3
    assert 0 < sparsity.parts["beta/0.001"]["samples"] <= 144
    training = computed(SamplingTraining.quick(**TINY, counts=(1,)))
    assert training.parts["count/1"]["learning"]["samples"] == 36
    for kind, results in ((SamplingSparsity, sparsity), (SamplingTraining, training)):
        contents = [content for section in kind.sections(results) for content in section.contents]
        assert all("<" in content.markup() for content in contents)
        assert len(contents) >= 3


def test_patterns_sample_whole_lines():
    experiment = SamplingPatterns.quick(**TINY)
    parts = {part.key: part for part in experiment.parts()}
    record = parts["mask/columns"].compute({})
    mask = torch.from_numpy(unpacked(record["mask"]))
    assert record["samples"] == 36
    assert torch.equal(mask, mask[:1].expand_as(mask))


@pytest.mark.parametrize(
    ("experiment", "options", "message"),
    [
        (SamplingBaselines, {"rates": (0.0,)}, "rates: found"),
        (SamplingBaselines, {"baselines": ("nothing",)}, "baselines: found nothing"),
        (SamplingBaselines, {"draws": 0}, "draws: found 0"),
        (SamplingRegularizers, {"regularizers": ("l3",)}, "regularizers: found"),
        (SamplingSparsity, {"betas": (-1.0,)}, "betas: found"),
        (SamplingTraining, {"counts": (0,)}, "counts: found"),
        (SamplingWarmUp, {"repeats": 0}, "repeats: found 0"),
        (SamplingWarmUp, {"size": 4}, "size: found 4"),
    ],
)
def test_wrong_options_of_sampling_experiments_are_named(experiment, options, message):
    with pytest.raises(ValueError, match=message):
        experiment(**options)


def test_every_experiment_has_a_command_of_its_name():
    from bilearn.cli.main import app

    group = next(g.typer_instance for g in app.registered_groups if g.name == "experiment")
    assert group is not None
    assert set(EXPERIMENTS) <= {command.name for command in group.registered_commands}
    for name in EXPERIMENTS:
        assert experiment_class(name).name == name


def computed(experiment):
    """Records in memory, without a directory."""
    results = Results(experiment.name, experiment.options(), {})
    for part in experiment.parts():
        results.parts[part.key] = encode(plain(part.compute(results.parts)), part.key)
    return results
