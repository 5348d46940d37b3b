"""An experiment of three quick parts, to test what all experiments share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bilearn.experiments.contents import Figure, Panel, Pictures, Section, Table
from bilearn.experiments.experiment import Experiment, Part
from bilearn.experiments.records import Results, column, packed, unpacked
from bilearn.report.charts import Band, Chart, Curve, Rule, axis_for
from bilearn.report.gallery import Column

CALLS: list[str] = []
INTERRUPT_AT: list[str] = []


@dataclass(frozen=True)
class Toy(Experiment):
    """Squares of the first numbers."""

    name = "toy"
    purpose = "Squares."

    count: int = 5
    factors: tuple[float, ...] = (1.0, 2.0)

    @classmethod
    def quick(cls, **options: Any) -> Toy:
        return cls(**{"count": 2, **options})

    def parts(self) -> list[Part]:
        return [
            Part("rows/first", "squares", self._squares),
            Part("rows/second", "sums", self._sums),
            Part("picture", "picture", self._picture),
        ]

    def _enter(self, key: str) -> None:
        CALLS.append(key)
        if key in INTERRUPT_AT:
            raise KeyboardInterrupt

    def _squares(self, done: Any) -> dict[str, Any]:
        self._enter("rows/first")
        rows = [{"x": k, "y": float(k * k), "bound": np.float64("inf") if k == 0 else 0.5} for k in range(self.count)]
        return {"rows": rows}

    def _sums(self, done: Any) -> dict[str, Any]:
        self._enter("rows/second")
        return {"sum": column(done["rows/first"]["rows"], "y").sum(), "factors": self.factors}

    def _picture(self, done: Any) -> dict[str, Any]:
        self._enter("picture")
        return {"image": packed(np.linspace(0.0, 1.0, 32 * 32).reshape(32, 32))}

    @classmethod
    def sections(cls, results: Results) -> list[Section]:
        contents = []
        first = results.parts.get("rows/first")
        if first:
            x, y, bound = (column(first["rows"], key) for key in ("x", "y", "bound"))
            chart = Chart(
                axis_for(x), axis_for([*y, 1.0]), "x", "y",
                bands=[Band(x, y - bound, y + bound, "learned", "bound")], rules=[Rule(1.0, "warn", "one")],
                curves=[Curve(x, y, "run-2", "squares", dots=True)],
            )  # fmt: skip
            contents.append(Figure("squares", [Panel("Squares", chart)], columns=1, note="A note."))
            contents.append(Table("Rows", ["x", "y"], [[f"{a:g}", f"{b:g}"] for a, b in zip(x, y, strict=True)]))
        picture = results.parts.get("picture")
        if picture:
            image = unpacked(picture["image"])
            columns = [Column("truth", image, "truth"), Column("half", image / 2, "learned", "darker")]
            contents.append(Pictures("picture", [("ramp", columns)]))
        return [Section("all", "Everything", "What the toy found.", contents)]
