"""What may watch a run: called by the learner, never changing what it computes."""

from bilearn.callbacks.callback import Callback, Progress
from bilearn.callbacks.csv_history import CSVHistory
from bilearn.callbacks.tensorboard import TensorBoard

__all__ = ["CSVHistory", "Callback", "Progress", "TensorBoard"]
