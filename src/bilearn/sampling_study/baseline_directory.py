"""Directories of ``bilearn sample baseline``: one baseline mask with its records, page and figures."""

from __future__ import annotations

import time
from pathlib import Path

from bilearn.experiment.environment import environment
from bilearn.experiments.contents import Figure, Section, Table
from bilearn.experiments.drawing import write_page
from bilearn.experiments.records import FINISHED, Results, packed, plain, unpacked
from bilearn.mri.io import export_mask
from bilearn.mri.masks import sample_count
from bilearn.report.formatting import number
from bilearn.run_records import encode
from bilearn.sampling_study.directory import MASK
from bilearn.sampling_study.figures import density_panel, pattern_tile, reconstruction_contents, spread_tile
from bilearn.sampling_study.learning import picture_record
from bilearn.sampling_study.methods import TITLES, best_of
from bilearn.sampling_study.reconstruction import DATA_RANGE, judged
from bilearn.sampling_study.setup import Pairs, StudySetup
from bilearn.sampling_study.tables import mean_quality
from bilearn.sampling_study.tiles import Tiles

BASELINE = "sample-baseline"
_SHOWN = 2


def baseline_into(directory: Path, name: str, rate: float, draws: int, setup: StudySetup, training: Pairs) -> Results:
    """Make a baseline mask, tune alpha for it, and write ``mask.npy``, ``results.json``, figures and page.

    Args:
        directory: an existing directory, empty.
        name: short name of the baseline.
        rate: part of k-space to sample.
        draws: random masks, of which the one with the smallest training loss is taken.
        setup: the study.
        training: pairs that alpha is tuned on.

    Raises:
        ValueError: for an unknown name or an impossible rate.
    """
    options = {**setup.options(), "baseline": name, "rate": rate, "draws": draws}
    results = Results(BASELINE, encode(options, "options"), environment(setup.seed, "cpu", "float64"), FINISHED)
    begin = time.perf_counter()
    count = sample_count(setup.shape, rate, setup.unit)
    tuned = best_of(name, setup, training, count, draws)
    export_mask(tuned.mask, directory / MASK)
    pictures = [picture_record(setup, tuned.mask, tuned.weight, training, k) for k in range(min(_SHOWN, len(training)))]
    record = {
        "title": TITLES[name],
        "samples": tuned.samples,
        "points": tuned.mask.numel(),
        "alpha": tuned.weight,
        "loss": tuned.loss.value,
        "lower": tuned.loss.lower,
        "upper": tuned.loss.upper,
        "quality": judged(tuned, training),
        "mask": packed(tuned.mask.double()),
        "pictures": pictures,
    }
    results.parts["mask"] = encode(plain(record), BASELINE)
    results.seconds = time.perf_counter() - begin
    results.write(directory)
    purpose = "A sampling mask of a known rule, its regularization weight tuned."
    write_page(directory, results, purpose, baseline_sections(results), "bilearn sample")
    return results


def baseline_sections(results: Results) -> list[Section]:
    """What the page of a baseline mask shows."""
    record = results.parts["mask"]
    mask = unpacked(record["mask"])
    share = f"{100 * record['samples'] / record['points']:.2f} %"
    row = [
        record["title"], str(record["samples"]), share, number(float(record["alpha"]), 3, plain=True),
        f"{float(record['loss']):.6g} in [{float(record['lower']):.6g}, {float(record['upper']):.6g}]",
        mean_quality(record["quality"]),
    ]  # fmt: skip
    head = ["mask", "samples", "rate", "alpha", "training loss", "training images"]
    tiles = [
        pattern_tile("mask", mask, f"{record['samples']} points, {share}"),
        spread_tile("point spread function", mask),
    ]
    return [
        Section("result", "Result", "The mask in use.", [Table("Mask", head, [row], DATA_RANGE)]),
        Section(
            "pattern", "Pattern", "Zero frequency in the middle; white is sampled.",
            [Tiles("pattern", [("", tiles)]), Figure("density", [density_panel([("mask", mask)])], 1)],
        ),
        Section("reconstructions", "Reconstructions", "Training images.", reconstruction_contents(record["pictures"])),
    ]  # fmt: skip
