"""What a run amounts to, in the terms a report needs, also for runs that were interrupted; and what to warn about."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from bilearn.report.formatting import count, figure, interval, metric, natural, number
from bilearn.run_directory import RunDirectory
from bilearn.run_records import STAGES, Bounded, HistoryRow, ParameterRecord, RunRecord, Statistic
from bilearn.upper.optimizer import UpperStatus

STAGE_TITLES = {"noisy": "Data", "default": "Default", "learned": "Learned"}
STAGE_MEANINGS = {
    "noisy": "the measurement itself",
    "default": "result with the start parameters",
    "learned": "result with the learned parameters",
}
_NUMBER = re.compile(r"\d[\d.]*(e[+-]?\d+)?")
_OF_IMAGES = ("metrics.json", "images.npz")
_GOOD_ENDS = (
    UpperStatus.STATIONARY,
    UpperStatus.SMALL_STEP,
    UpperStatus.SMALL_DECREASE,
    UpperStatus.EARLY_STOP,
    UpperStatus.EXHAUSTED,
)


@dataclass(frozen=True)
class Finding:
    """Something the reader must know. ``level`` is "problem" or "note"."""

    level: str
    title: str
    text: str


@dataclass(frozen=True)
class Digest:
    """A run in brief.

    Attributes:
        record: everything that was read.
        name: name of the run.
        status: how it ended, one sentence.
        finished: whether a summary was written.
        converged: whether the upper level ended by its own stopping rule.
        start, final: objective at the first and at the best point; None without any evaluation.
        parameters: the learned parameters.
        whole: the evaluations of all training pairs; those of minibatches say nothing about the objective.
        accepted: those of ``whole`` the upper-level method moved to.
        cost: work by kind, per sample.
        seconds: wall-clock time.
        split: split whose metrics are shown ("test" where there is one), or "".
    """

    record: RunRecord
    name: str
    status: str
    finished: bool
    converged: bool
    start: Bounded | None
    final: Bounded | None
    parameters: tuple[ParameterRecord, ...]
    whole: tuple[HistoryRow, ...]
    accepted: tuple[HistoryRow, ...]
    cost: dict[str, int]
    seconds: float
    split: str

    @property
    def stages(self) -> dict[str, dict[str, Statistic]]:
        """Stage -> metric -> statistic of the shown split, in the order data, default, learned."""
        stages = self.record.summary.metrics.get(self.split, {}) if self.record.summary else {}
        order = [*(s for s in STAGES if s in stages), *(s for s in stages if s not in STAGES)]
        return {stage: stages[stage] for stage in order}

    @property
    def samples(self) -> str:
        """What figures are means over: "images" or "samples"."""
        return self.record.summary.samples if self.record.summary else "images"

    @property
    def of_images(self) -> bool:
        """Whether images or signals were reconstructed."""
        return self.samples == "images"

    @property
    def metric_names(self) -> list[str]:
        """Metrics of the shown split, in order of appearance."""
        return list(dict.fromkeys(name for figures in self.stages.values() for name in figures))

    @property
    def improvement_is_certain(self) -> bool:
        """Whether the certified interval at the end lies entirely below the one at the start."""
        return (
            self.start is not None
            and self.final is not None
            and self.start.certified
            and self.final.certified
            and self.final.upper < self.start.lower
        )


def read_digest(path: str | Path) -> Digest:
    """Read a run directory and digest it."""
    return digest(RunDirectory(path).read())


def digest(record: RunRecord) -> Digest:
    """Digest a run; an interrupted one is described by its history."""
    summary, history = record.summary, record.history
    whole = tuple(row for row in history if row.minibatch is None)
    accepted = tuple(row for row in whole if row.accepted) or whole
    best = min(accepted, key=lambda row: row.objective.value, default=None)
    first = whole[0] if whole else None
    last = history[-1] if history else None
    parameters = summary.parameters if summary else ()
    if not parameters and best is not None and first is not None:
        parameters = tuple(
            ParameterRecord(name, value, first.parameters.get(name)) for name, value in best.parameters.items()
        )
    splits = list(summary.metrics) if summary else []
    status = summary.status if summary else "the run did not finish: no summary was written"
    outcome = summary.outcome if summary else ""
    return Digest(
        record=record,
        name=summary.name if summary else record.path.resolve().name,
        status=status,
        finished=summary is not None,
        converged=any(outcome == end.name if outcome else status == end.value for end in _GOOD_ENDS),
        start=(summary.start if summary else None) or (first.objective if first else None),
        final=(summary.final if summary else None) or (best.objective if best else None),
        parameters=parameters,
        whole=whole,
        accepted=accepted,
        cost=(summary.cost if summary else None) or (last.cost if last else {}),
        seconds=summary.seconds if summary and math.isfinite(summary.seconds) else (last.seconds if last else math.nan),
        split="test" if "test" in splits else (splits[0] if splits else ""),
    )


def findings(run: Digest, plain: bool = False) -> list[Finding]:
    """Warnings in plain words, the most important first; ``plain`` writes numbers in ASCII."""
    topics = (_about_the_end, _about_bounds, _about_certificates, _about_quality)
    found = [finding for topic in topics for finding in topic(run, plain)]
    if run.record.summary:
        found += [Finding("note", "The run says", text) for text in run.record.summary.warnings]
    return sorted(found, key=lambda f: f.level != "problem")


def _about_the_end(run: Digest, plain: bool) -> list[Finding]:
    found: list[Finding] = []
    if not run.finished:
        found.append(
            Finding(
                "problem",
                "The run did not finish",
                f"It was interrupted after {count(len(run.record.history), plain)} evaluations, before the summary was "
                "written. Figures below are those of the best evaluation so far. Continue with 'bilearn resume'.",
            )
        )
    elif not run.converged:
        found.append(
            Finding(
                "problem",
                "The upper level did not converge",
                f"It ended because: {run.status}. The learned parameters are the best ones seen, a longer run may "
                "improve them.",
            )
        )
    absent = [
        name for name in run.record.missing if name not in ("summary.json", *(() if run.of_images else _OF_IMAGES))
    ]
    if absent:
        found.append(Finding("note", "Parts are missing", f"Not in the run directory: {', '.join(absent)}."))
    return found


def _about_bounds(run: Digest, plain: bool) -> list[Finding]:
    found: list[Finding] = []
    for parameter in run.parameters:
        for side, n, bound in (
            ("lower", parameter.at_lower, parameter.lower_bound),
            ("upper", parameter.at_upper, parameter.upper_bound),
        ):
            if n == 0:
                continue
            who = parameter.name if parameter.entries == 1 else (
                f"{count(n, plain)} of the {count(parameter.entries, plain)} entries of {parameter.name}"
            )  # fmt: skip
            verb = "ended" if parameter.entries == 1 or n > 1 else "ends"
            found.append(
                Finding(
                    "note",
                    f"{parameter.name} is at its {side} bound",
                    f"{who} {verb} at the {side} bound {number(bound, plain=plain)}. The data would like "
                    f"{'smaller' if side == 'lower' else 'larger'} values: widen the bound, or, if the model hardly "
                    "changes, fix the parameter there.",
                )
            )
    return found


def _about_certificates(run: Digest, plain: bool) -> list[Finding]:
    found: list[Finding] = []
    final = run.final
    if final is not None and not math.isfinite(final.width):
        found.append(
            Finding(
                "note",
                "No bound on the final objective",
                "The curvature of the lower-level energy is unknown, so nothing is known about how far the computed "
                "objective is from the exact one. Declare a strong convexity constant to get an interval.",
            )
        )
    elif final is not None and not final.certified:
        found.append(
            Finding(
                "note",
                "The final objective is not certified",
                f"The interval {interval(final.lower, final.upper, plain)} rests on curvature constants that were estimated, "
                "not declared. It is a good guess, not a proof.",
            )
        )
    history = run.record.history
    guessed = [row for row in history if row.gradient_norm is not None and not row.objective.certified]
    guessed = [row for row in guessed if row.gradient_bound is not None and math.isfinite(row.gradient_bound)]
    if guessed:
        found.append(
            Finding(
                "note",
                "Errors of gradients were estimated",
                f"{count(len(guessed), plain)} of {count(len(history), plain)} evaluations carry an estimate of the error of "
                "their gradient, not a proved bound. Steps that relied on them are not certified.",
            )
        )
    missed = [row for row in run.record.history if row.message]
    if missed:
        alike: dict[str, list[str]] = {}
        for row in missed:
            alike.setdefault(_NUMBER.sub("#", row.message), []).append(row.message)
        kinds = sorted(alike.values(), key=len, reverse=True)[:3]
        detail = "; ".join(
            f"{texts[-1]} ({count(len(texts), plain)} times)" if texts[1:] else texts[0] for texts in kinds
        )
        found.append(
            Finding(
                "note",
                f"{count(len(missed), plain)} of {count(len(run.record.history), plain)} evaluations missed their accuracy",
                f"{detail}. "
                + (
                    "Their bounds are still valid, only wider than asked."
                    if all(row.objective.certified for row in missed)
                    else "Not all of their bounds are proved."
                ),
            )
        )
    return found


def _about_quality(run: Digest, plain: bool) -> list[Finding]:
    found: list[Finding] = []
    stages = run.stages
    for name in run.metric_names:
        better = metric(name).higher_is_better
        default, learned = stages.get("default", {}).get(name), stages.get("learned", {}).get(name)
        if better is None or default is None or learned is None:
            continue
        if (learned.mean < default.mean) == better and learned.mean != default.mean:
            found.append(
                Finding(
                    "note",
                    f"{metric(name).label} is worse than with the default parameters",
                    f"On the {run.split} {run.samples}: {figure(name, learned.mean, plain)} learned against "
                    f"{figure(name, default.mean, plain, unit=True)} default. The loss that was minimized may not favor this "
                    f"figure, or the training {run.samples} differ from these.",
                )
            )
    checked = [row for row in run.accepted if "loss" in row.validation]
    if len(checked) > 2:
        best, last = min(checked, key=lambda row: row.validation["loss"]), checked[-1]
        if last.validation["loss"] > 1.01 * best.validation["loss"]:
            smallest, end = (number(row.validation["loss"], plain=plain) for row in (best, last))
            there = ", ".join(f"{name} = {natural(value, plain=plain)}" for name, value in best.parameters.items())
            found.append(
                Finding(
                    "note",
                    "The validation loss rose again",
                    f"It was smallest at evaluation {best.evaluation} ({smallest}) and ended at {end}: a sign of "
                    f"overfitting. Parameters there: {there}.",
                )
            )
    return found
