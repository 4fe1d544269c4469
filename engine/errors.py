"""The error family that every expected failure belongs to.

    ProsectError            what went wrong, and what to do next
    ├── SettingsError       prosect.toml or a command-line value
    ├── IngestError         a dataset file
    ├── ModelError          a checkpoint, SAE, tokenizer or chat template
    ├── StoreError          a project folder, index or arrays
    ├── ConceptError        clustering, contexts, directions
    ├── StatsError          readings that no statistic can be computed from
    ├── RuleError           a rule file; carries every diagnostic found
    ├── CompileError        a plan that cannot become a shaped dataset
    ├── TrainError          a training run or its outcome
    ├── ReviewError         the journal
    ├── NamingError         a language model that proposes names, or what it proposed
    └── Cancelled           the user stopped a long job; nothing that was confirmed is lost

Front ends catch ``ProsectError`` and show ``message`` and ``hint``; anything else is a defect.
"""


class ProsectError(Exception):
    """A failure that the user can do something about.

    Args:
        message: what went wrong and where (file, row, line:column).
        hint: what to do next; None where nothing useful can be said.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class SettingsError(ProsectError):
    """A setting is unknown, of the wrong type or out of range."""


class PatternError(SettingsError):
    """A regular expression cannot be used."""


class IngestError(ProsectError):
    """A dataset cannot be read as preference pairs."""


class ModelError(ProsectError):
    """A checkpoint, SAE, tokenizer or chat template cannot be used."""


class StoreError(ProsectError):
    """A project folder or one of its artefacts is missing, damaged or of another version."""


class ConceptError(ProsectError):
    """Concepts or contexts cannot be formed from these readings."""


class StatsError(ProsectError):
    """A statistic is undefined for this input as a whole."""


class RuleError(ProsectError):
    """A rule file is wrong."""


class CompileError(ProsectError):
    """A plan cannot be made or written."""


class TrainError(ProsectError):
    """A training run cannot start or go on, or its outcome cannot be measured."""


class ReviewError(ProsectError):
    """The journal cannot be written or read."""


class NamingError(ProsectError):
    """A language model cannot be asked for names, or its proposals cannot be kept."""


class Cancelled(ProsectError):
    """The user stopped a long job."""
