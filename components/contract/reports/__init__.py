"""What the steps report, one frozen dataclass a file.

A report's attributes are its file's keys. An attribute with a default is left out of the file where it has that
default; every other one is always there, as null where it is None.
"""

from components.contract.reports.answers import Answer, Sample
from components.contract.reports.data import (
    BlockCounts,
    BlocksReport,
    BySplit,
    ColumnCounts,
    ColumnReport,
    CorpusReport,
    GroupSplit,
    MixedSource,
    Parts,
    RecordsWithoutText,
    Skipped,
    Streamed,
    TimeSplit,
    TokenizerReport,
)
from components.contract.reports.diagnostics import (
    Calibration,
    CalibrationBin,
    TokenExample,
    TokenLoss,
    WorstTokens,
)
from components.contract.reports.evaluation import (
    Blessing,
    Check,
    ComparedModel,
    Ends,
    EvaluationReport,
    Interval,
    Measurement,
    SliceReport,
)
from components.contract.reports.files import Report, as_plain, from_plain, write
from components.contract.reports.serving import (
    Candidate,
    Example,
    FormAccuracy,
    HubPush,
    PushReport,
    ServingModelReport,
    SignatureReport,
    TensorReport,
    ValidatedText,
    ValidationReport,
)
from components.contract.reports.stream import Shard, StreamReport
from components.contract.reports.training import EpochRow, ExecutionReport, Hardware, StepRow, TrainingReport

__all__ = [
    "Answer",
    "Blessing",
    "BlockCounts",
    "BlocksReport",
    "BySplit",
    "Calibration",
    "CalibrationBin",
    "Candidate",
    "Check",
    "ColumnCounts",
    "ColumnReport",
    "ComparedModel",
    "CorpusReport",
    "Ends",
    "EpochRow",
    "EvaluationReport",
    "Example",
    "ExecutionReport",
    "FormAccuracy",
    "GroupSplit",
    "Hardware",
    "HubPush",
    "Interval",
    "Measurement",
    "MixedSource",
    "Parts",
    "PushReport",
    "RecordsWithoutText",
    "Report",
    "Sample",
    "ServingModelReport",
    "Shard",
    "SignatureReport",
    "Skipped",
    "SliceReport",
    "StepRow",
    "StreamReport",
    "Streamed",
    "TensorReport",
    "TimeSplit",
    "TokenExample",
    "TokenLoss",
    "TokenizerReport",
    "TrainingReport",
    "ValidatedText",
    "ValidationReport",
    "WorstTokens",
    "as_plain",
    "from_plain",
    "write",
]
