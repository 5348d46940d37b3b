"""Draw the filters and potentials that a run directory holds, as in the gallery.

bilearn learn foe-photos --threads 1 --set run.max_steps=10 --set data.crop=32 --set data.train=6 -o runs/foe
python docs/_tools/draw_filters.py runs/foe docs/images/gallery/learned_filters.png
"""

from __future__ import annotations

import sys

import matplotlib
import numpy as np

from bilearn.report.filters import filter_grid
from bilearn.run_directory import RunDirectory

matplotlib.use("Agg")

import matplotlib.pyplot as plt

STYLES = {"default": ("start", "0.6"), "learned": ("learned", "#c2410c")}


def main(run: str, target: str) -> None:
    """Filters at the start and learned, and derivatives of the five strongest."""
    records = RunDirectory(run).read().filters
    order = np.argsort(-np.abs(records["learned"].strength), kind="stable")
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), width_ratios=(1.25, 1.25, 1))
    for axis, (stage, record) in zip(axes, records.items(), strict=False):
        axis.imshow(filter_grid(record.taps, order), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(f"filters, {STYLES[stage][0]}")
        axis.set_axis_off()
    for stage, record in records.items():
        label, color = STYLES[stage]
        for k, index in enumerate(order[:5]):
            axes[2].plot(record.responses, record.slopes[index], color=color, lw=1.2, label=None if k else label)
    axes[2].set_title("derivatives of five potentials")
    axes[2].set_xlabel("response of the scaled filter")
    axes[2].legend(frameon=False)
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
