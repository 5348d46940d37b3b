"""Run directories of ``bilearn sample``: records, page, figures, mask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bilearn.callbacks import Callback
from bilearn.experiment.environment import environment
from bilearn.experiments.contents import Section
from bilearn.experiments.drawing import write_page
from bilearn.experiments.records import FINISHED, INTERRUPTED, RESULTS, Results, plain
from bilearn.mri.io import export_mask
from bilearn.run_records import encode
from bilearn.sampling import SamplingResult
from bilearn.sampling_study.coils import BIRDCAGE, ESPIRIT, MAPS, save_maps
from bilearn.sampling_study.figures import course_contents, pattern_contents, reconstruction_contents
from bilearn.sampling_study.learning import (
    STAGES,
    LearningGoal,
    learned,
    learning_record,
    limits_of,
    picture_record,
)
from bilearn.sampling_study.readout_records import readout_contents, readout_record, save_trajectory
from bilearn.sampling_study.setup import Pairs, StudySetup
from bilearn.sampling_study.tables import result_table, starts_table

LEARNED = "sample-learn"
MASK = "mask.npy"
_PURPOSE = (
    "A sampling pattern learned together with the regularization weight, for these images, noise and regularizer."
)
_SHOWN = 2


def learn_into(
    directory: Path, setup: StudySetup, goal: LearningGoal, training: Pairs, callbacks: Sequence[Callback] = ()
) -> Results:
    """Learn a pattern and write its run directory; the same call continues an interrupted one.

    ``sampling.json`` and ``sampling.npz`` (:class:`bilearn.sampling.SamplingResult`), ``mask.npy`` (centered), ``maps.npy``
    (coils), ``trajectory.npz`` (learned readouts),
    ``results.json`` (all that the page shows), ``report.html``, one PNG for every figure, and the stages' own records.

    Args:
        directory: new, empty, or that of an interrupted run with the same options.
        setup: the study.
        goal: what is asked for.
        training: pairs.
        callbacks: watchers of every stage.

    Raises:
        FileExistsError: if the directory holds something else, or a run that is finished or has other options.
        ValueError: if the goal cannot be met.
        KeyboardInterrupt: if interrupted before the first start was complete.
    """
    options = encode({**setup.options(), "goal": goal.options()}, "options")
    _claim(directory, options)
    results = Results(LEARNED, options, environment(setup.seed, "cpu", "float64"), INTERRUPTED)
    results.write(directory)
    begin = time.perf_counter()
    result = learned(setup, goal, training, directory / STAGES, callbacks)
    result.save(directory)
    export_mask(result.mask, directory / MASK, overwrite=True)
    limits = limits_of(setup, goal)
    save_trajectory(directory, result, limits)
    maps = setup.coil_maps()
    if maps is not None:
        save_maps(maps, directory)
    weight = next(iter(result.parameters.values()))
    coils = 1 if maps is None else len(maps)
    results.parts["learning"] = _recorded({**learning_record(result, directory / STAGES), "coils": coils})
    if result.locations is not None:
        results.parts["readouts"] = _recorded(readout_record(result.locations, result.settings, limits))
    results.parts["pictures"] = _recorded(
        {"images": [picture_record(setup, result.mask, weight, training, k) for k in range(min(_SHOWN, len(training)))]}
    )
    results.seconds = time.perf_counter() - begin
    results.status = INTERRUPTED if result.message.startswith("interrupted") else FINISHED
    results.write(directory)
    draw_learned(directory)
    return results


def draw_learned(directory: Path) -> Path:
    """Write page and figures of a learned pattern again from its records.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are damaged, or of something else.
    """
    results = read_learned(directory)
    return write_page(directory, results, _PURPOSE, learned_sections(results), "bilearn sample", "the same command")


def learned_sections(results: Results) -> list[Section]:
    """What the page of a learned pattern shows."""
    record, pictures = results.parts["learning"], results.parts["pictures"]["images"]
    message = [record["message"]] if record["message"] else []
    seen = [f"{record['coils']} coils, maps: {results.options['maps']}."] if record["coils"] > 1 else []
    readouts = readout_contents(results.parts["readouts"]) if "readouts" in results.parts else []
    return [
        Section(
            "result", "Result", " ".join([f"{record['samples']} samples.", *seen, *message]),
            [result_table(record), starts_table(record)],
        ),
        Section(
            "pattern", "Pattern", "The mask, what it was rounded from, and how it samples.",
            [*pattern_contents(record), *readouts],
        ),
        Section(
            "reconstructions", "Reconstructions", "Training images from the mask's samples.", reconstruction_contents(pictures)
        ),
        Section("course", "Course", "How the weights changed over the run.", course_contents(record["course"])),
    ]  # fmt: skip


def read_learned(directory: Path) -> Results:
    """Records of a finished learned pattern.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are damaged, unfinished, or of something else.
    """
    if not (directory / RESULTS).is_file():
        raise FileNotFoundError(
            f"{directory}: found no {RESULTS}, expected a directory written by 'bilearn sample learn'"
        )
    results = Results.read(directory)
    if results.experiment != LEARNED:
        raise ValueError(
            f"{directory}: found records of {results.experiment!r}, expected a directory written by 'bilearn sample learn'"
        )
    if "learning" not in results.parts:
        raise ValueError(
            f"{directory}: the run did not reach a mask; run the same 'bilearn sample learn' again to continue"
        )
    return results


def load_learned(directory: Path) -> tuple[StudySetup, SamplingResult]:
    """Setup and result of a finished run; maps that were read from a file are those of the run.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_learned`.
    """
    results = read_learned(directory)
    setup = StudySetup.from_options(results.options)
    if setup.maps not in (BIRDCAGE, ESPIRIT):
        setup = replace(setup, maps=str(directory / MAPS))
    return setup, SamplingResult.load(directory)


def _claim(directory: Path, options: object) -> None:
    """Make the directory, or accept that of an interrupted run with the same options."""
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(f"--output: {directory} is a file; choose another path")
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / RESULTS).is_file():
            raise FileExistsError(f"--output: {directory} is not empty; choose another path")
        earlier = Results.read(directory)
        if earlier.status == FINISHED:
            raise FileExistsError(f"--output: {directory} holds a finished run; choose another path")
        if earlier.experiment != LEARNED or earlier.options != options:
            raise FileExistsError(
                f"--output: {directory} holds an unfinished run with other options; repeat those, or choose another path"
            )
    directory.mkdir(parents=True, exist_ok=True)


def _recorded(values: object) -> dict[str, object]:
    recorded: dict[str, object] = encode(plain(values), LEARNED)
    return recorded
