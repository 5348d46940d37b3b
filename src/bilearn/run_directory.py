"""The directory a run is recorded in: what is written while learning, and what reports read afterwards."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bilearn._files import replacing
from bilearn.run_records import FilterRecord, HistoryRow, ImageRow, ImageSet, RunRecord, Summary, encode

CONFIG = "config.toml"
ENVIRONMENT = "environment.json"
HISTORY = "history.jsonl"
SUMMARY = "summary.json"
METRICS = "metrics.json"
IMAGES = "images.npz"
MODEL = "model.safetensors"
MODEL_DESCRIPTION = "model.json"
CHECKPOINT = "checkpoint"
REPORT = "report.html"

_FILES = (CONFIG, ENVIRONMENT, HISTORY, SUMMARY, METRICS, IMAGES, MODEL, MODEL_DESCRIPTION, REPORT)
_SIGNS_OF_A_RUN = (ENVIRONMENT, HISTORY, SUMMARY, CHECKPOINT)
_MAP_PREFIX = "map:"
_FILTER_PREFIX = "filters:"


class RunDirectory:
    """Files of one run. Every file is replaced atomically; ``history.jsonl`` grows by one flushed line per evaluation.

    =====================  =====================================================================================
    ``config.toml``        resolved configuration
    ``environment.json``   versions, machine, threads, seed, command
    ``history.jsonl``      one line per upper-level evaluation (:class:`~bilearn.run_records.HistoryRow`)
    ``summary.json``       how the run ended (:class:`~bilearn.run_records.Summary`)
    ``metrics.json``       figures per image (:class:`~bilearn.run_records.ImageRow`)
    ``images.npz``         pictures of some test images (:class:`~bilearn.run_records.ImageSet`), parameter maps, filters
    ``model.safetensors``  learned weights; ``model.json`` says how to rebuild the model around them
    ``checkpoint/``        state to resume from
    ``report.html``        the report
    =====================  =====================================================================================

    Args:
        path: the directory; neither created nor read here, see :meth:`create` and :meth:`open`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False) -> RunDirectory:
        """A new, empty run directory.

        Args:
            path: where; parents are created.
            overwrite: remove the files of an earlier run found there (only those, never other files).

        Raises:
            FileExistsError: if the directory is not empty and is not an earlier run that may be overwritten.
            NotADirectoryError: if a file of that name exists.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise NotADirectoryError(f"run directory: {run.path} is a file; choose another path")
        if run.path.is_dir() and any(run.path.iterdir()):
            if not run.is_run:
                raise FileExistsError(
                    f"run directory: {run.path} is not empty and holds no earlier run; choose another path"
                )
            if not overwrite:
                raise FileExistsError(
                    f"run directory: {run.path} already holds a run; choose another path, resume it, or pass overwrite"
                )
            for name in _FILES:
                (run.path / name).unlink(missing_ok=True)
            shutil.rmtree(run.checkpoint_path, ignore_errors=True)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run.

        Raises:
            FileNotFoundError: if there is none at ``path``.
        """
        run = cls(path)
        if not run.is_run:
            found = "a directory without a run" if run.path.is_dir() else "nothing"
            raise FileNotFoundError(f"run directory: found {found} at {run.path}, expected one written by 'learn'")
        return run

    @property
    def is_run(self) -> bool:
        """Whether the directory holds the traces of a run."""
        return any((self.path / name).exists() for name in _SIGNS_OF_A_RUN)

    @property
    def model_path(self) -> Path:
        """Path of the learned weights."""
        return self.path / MODEL

    @property
    def checkpoint_path(self) -> Path:
        """Directory of the state to resume from."""
        return self.path / CHECKPOINT

    @property
    def report_path(self) -> Path:
        """Path of the report."""
        return self.path / REPORT

    def write_config(self, text: str) -> None:
        """Write the resolved configuration."""
        self.write_bytes(CONFIG, text.encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write versions, machine, threads, seed and command."""
        self._write_json(ENVIRONMENT, environment)

    def append_history(self, row: Mapping[str, Any]) -> None:
        """Append one evaluation and flush; a line cut short by an earlier crash is removed first.

        Args:
            row: entries as read by :meth:`bilearn.run_records.HistoryRow.from_json`.

        Raises:
            ValueError: if a required entry is missing or not a number.
        """
        encoded = encode(row, "history row")
        HistoryRow.from_json(encoded)
        line = json.dumps(encoded, allow_nan=False) + "\n"
        with open(self.path / HISTORY, "ab+") as file:
            _drop_partial_line(file)
            file.write(line.encode())
            file.flush()

    def truncate_history(self, evaluation: int) -> list[dict[str, Any]]:
        """Keep and return the rows up to and including ``evaluation``: a resumed run writes the later ones again."""
        rows = [row for row in self._history_entries() if int(row["evaluation"]) <= evaluation]
        self.write_bytes(HISTORY, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
        return rows

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended, entries as read by :meth:`bilearn.run_records.Summary.from_json`."""
        Summary.from_json(encode(summary, "summary"), self.path.name)
        self._write_json(SUMMARY, summary)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write figures per image, rows as read by :meth:`bilearn.run_records.ImageRow.from_json`."""
        for row in rows:
            ImageRow.from_json(encode(row, "metrics row"))
        self._write_json(METRICS, rows)

    def write_images(
        self,
        images: Sequence[ImageSet],
        maps: Mapping[str, np.ndarray] | None = None,
        filters: Mapping[str, FilterRecord] | None = None,
    ) -> None:
        """Write pictures of some test images, learned parameters with many entries as arrays by name, filters by stage."""
        arrays: dict[str, np.ndarray] = {f"{_MAP_PREFIX}{name}": np.asarray(a) for name, a in (maps or {}).items()}
        for stage, record in (filters or {}).items():
            for entry in fields(record):
                arrays[f"{_FILTER_PREFIX}{stage}:{entry.name}"] = np.asarray(getattr(record, entry.name))
        for i, image in enumerate(images):
            for entry in fields(image):
                array = getattr(image, entry.name)
                if array is not None:
                    arrays[f"{entry.name}_{i}"] = np.asarray(array)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        self.write_bytes(IMAGES, buffer.getvalue())

    def write_model_description(self, description: Mapping[str, Any]) -> None:
        """Write how to rebuild the model around ``model.safetensors``."""
        self._write_json(MODEL_DESCRIPTION, description)

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Replace a file of the run atomically; returns its path."""
        target = self.path / name
        with replacing(target) as file:
            file.write(content)
        return target

    def read(self) -> RunRecord:
        """Everything that is there; files an interrupted run did not write are listed in ``missing``.

        Raises:
            FileNotFoundError: if there is no run at the path.
            ValueError: if a file is damaged; the message names it.
        """
        RunDirectory.open(self.path)
        summary = self._read_json(SUMMARY)
        images, maps, filters = self._read_images()
        return RunRecord(
            path=self.path,
            config=self._read_text(CONFIG),
            environment=self._read_json(ENVIRONMENT) or {},
            history=tuple(
                HistoryRow.from_json(row, f"{HISTORY}, line {i + 1}") for i, row in enumerate(self._history_entries())
            ),
            summary=Summary.from_json(summary, self.path.resolve().name) if summary else None,
            metrics=tuple(ImageRow.from_json(row) for row in self._read_json(METRICS) or ()),
            images=images,
            maps=maps,
            filters=filters,
            model=self._read_json(MODEL_DESCRIPTION) or {},
            missing=tuple(name for name in _FILES if name != REPORT and not (self.path / name).exists()),
        )

    def _write_json(self, name: str, content: Any) -> None:
        text = json.dumps(encode(content, name), indent=2, allow_nan=False) + "\n"
        self.write_bytes(name, text.encode())

    def _read_text(self, name: str) -> str:
        path = self.path / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _read_json(self, name: str) -> Any:
        text = self._read_text(name)
        try:
            return json.loads(text) if text else None
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.path / name}: not valid JSON ({error}); restore or delete the file") from None

    def _history_entries(self) -> list[dict[str, Any]]:
        """Complete lines of the history; a last line cut short by a crash is left out."""
        lines = self._read_text(HISTORY).split("\n")
        rows: list[dict[str, Any]] = []
        for i, line in enumerate(lines[:-1]):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                where = f"{self.path / HISTORY}, line {i + 1}"
                raise ValueError(f"{where}: not valid JSON ({error}); repair or remove that line") from None
        return rows

    def _read_images(self) -> tuple[tuple[ImageSet, ...], dict[str, np.ndarray], dict[str, FilterRecord]]:
        path = self.path / IMAGES
        if not path.exists():
            return (), {}, {}
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise ValueError(f"{path}: not a readable archive of arrays ({error}); restore or delete it") from None
        names = [entry.name for entry in fields(ImageSet)]
        count = sum(name.startswith("truth_") for name in arrays)
        images = tuple(ImageSet(**{n: arrays.get(f"{n}_{i}") for n in names}) for i in range(count))  # type: ignore[arg-type]
        maps = {n.removeprefix(_MAP_PREFIX): a for n, a in arrays.items() if n.startswith(_MAP_PREFIX)}
        stages = [n.split(":")[1] for n in arrays if n.startswith(_FILTER_PREFIX) and n.endswith(":taps")]
        filters = {
            stage: FilterRecord(**{f.name: arrays[f"{_FILTER_PREFIX}{stage}:{f.name}"] for f in fields(FilterRecord)})
            for stage in stages
        }
        return images, maps, filters


def _drop_partial_line(file: io.BufferedRandom) -> None:
    """Cut a file opened for appending after its last newline."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
