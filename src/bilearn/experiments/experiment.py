"""What an experiment is: options, parts that compute, and sections that draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self

    from bilearn.experiments.contents import Section
    from bilearn.experiments.records import Results


@dataclass(frozen=True)
class Part:
    """The unit in which an experiment is computed and recorded.

    Attributes:
        key: unique name under which the result is recorded, words separated by slashes.
        label: what is under way, for the progress bar.
        compute: gets the results of the parts before it by key, returns a mapping that JSON can hold.
    """

    key: str
    label: str
    compute: Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Experiment(ABC):
    """A frozen dataclass of options that computes parts, and draws from their records.

    What an author must write: ``name``, ``purpose``, ``quick``, ``parts``, ``sections``.

    Args:
        seed: of noise, starts and random methods.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]

    seed: int = 0

    @classmethod
    @abstractmethod
    def quick(cls, **options: Any) -> Self:
        """The experiment with options that end within seconds; ``options`` given here win."""

    @abstractmethod
    def parts(self) -> Sequence[Part]:
        """What there is to compute, in order."""

    @classmethod
    @abstractmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Figures, pictures and tables of the records, of which parts may be missing."""

    def check(self) -> None:
        """Raise if something that is needed from outside, such as a folder, is missing; called before a directory is made."""
        return

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The experiment with recorded options; lists become tuples.

        Raises:
            ValueError: if an option is unknown.
        """
        recorded: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        try:
            return cls(**recorded)
        except TypeError as error:
            raise ValueError(f"{cls.name}: the recorded options do not fit this version of bilearn ({error})") from None

    def options(self) -> dict[str, Any]:
        """All options by name."""
        return asdict(self)
