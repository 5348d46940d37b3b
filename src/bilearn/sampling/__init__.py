"""Learning which k-space samples to take: from training pairs to a binary mask with certified values.

:func:`learn_sampling` is the whole of it. With ``penalty=(beta1, beta2)`` it learns degrees of sampling as Sherry et al.
(2020) did, from several starts, with a way back for dropped samples; with ``rate=0.25`` or ``count=...`` it returns a mask
of exactly that many samples. The numbers outside of the pattern (alpha, the ridge) are learned along and tuned again for
the mask.

The :class:`SamplingResult` holds plain arrays and numbers: ``mask`` and ``degrees`` on the grid without shift,
``parameters``, ``quality`` per image, and for every start an :class:`Attempt` with its moments (:class:`Snapshot`), each with
the interval that contains the exact objective. ``result.save(directory)`` writes ``sampling.json`` and ``sampling.npz``,
``SamplingResult.load`` reads them; with ``learn_sampling(..., directory=...)`` every stage has a run directory of its own
below it (``full`` for the first stage, ``<start>/learn``, ``<start>/return-1``, ... with a penalty, ``<start>/relaxed``,
``<start>/binary-1``, ..., ``<start>/tune`` with a budget), with history and checkpoints, and the same call continues an
interrupted run.

The moments, by name: "relaxed" (degrees), "returned" (after samples came back), "shared" (degrees that count as their part,
where the continuation has a steepness), "binary" (end of the continuation, before
rounding), "rounded" (mask, other numbers as before), "tuned" (other numbers tuned for the mask), "exchanged" (after swaps,
tuned again). Values of "relaxed" and "returned" include penalties, the others are mean losses.
"""

from bilearn.sampling.budgeted import Continuation
from bilearn.sampling.exchange import Changes, predicted_changes
from bilearn.sampling.hardware import HardwarePenalty
from bilearn.sampling.learn import learn_sampling
from bilearn.sampling.mask_score import ReconstructionScore
from bilearn.sampling.penalty import SamplingPenalty
from bilearn.sampling.probabilities import ProbabilityLearning, ProbabilityStep, learn_probabilities
from bilearn.sampling.problem import SamplingProblem
from bilearn.sampling.quality import magnitude_quality
from bilearn.sampling.readouts import learn_readouts
from bilearn.sampling.records import Attempt, SamplingResult, Snapshot
from bilearn.sampling.start import Start
from bilearn.sampling.units import Units

__all__ = [
    "Attempt",
    "Changes",
    "Continuation",
    "HardwarePenalty",
    "ProbabilityLearning",
    "ProbabilityStep",
    "ReconstructionScore",
    "SamplingPenalty",
    "SamplingProblem",
    "SamplingResult",
    "Snapshot",
    "Start",
    "Units",
    "learn_probabilities",
    "learn_readouts",
    "learn_sampling",
    "magnitude_quality",
    "predicted_changes",
]
