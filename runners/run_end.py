"""How a run ends: its record is closed, its report written, and an error that no step foresaw put into words."""

import traceback
from collections.abc import Callable
from pathlib import Path

from foundation import disk
from foundation.errors import PipelineError
from foundation.termination import TERMINATION
from runners.housekeeping.index import write_index
from runners.report.run_report import write_report
from runners.run_record import RunRecord
from runners.tracking.tracking import Tracking

AT_ONCE_SECONDS = 1.0
"""What a tracker gets of a run that won't be waited for."""
SAME_COMMAND = "the same command then goes on from what is finished"


class RunEnd:
    """Ends the runs of a root.

    Args:
        root: The pipeline root.
        tracking: Is told how a run ended.
        show: Called with a line of text to show.
        share: Shows others what stands in a run's folder by now.
    """

    def __init__(
        self, root: Path, tracking: Tracking, show: Callable[[str], None], share: Callable[[Path], None]
    ) -> None:
        self._root = root
        self._tracking = tracking
        self._show = show
        self._share = share

    def close(self, record: RunRecord | None, status: str, error: str | None = None) -> None:
        """Closes the record, unless there is none yet or it is closed already, and writes the report."""
        if record is None or record.is_closed:
            return
        with TERMINATION.held_back():
            record.finish(status, error)
            self.write_report(record.directory)
        self._tracking.end(status)

    def close_at_once(self, record: RunRecord) -> None:
        """Closes the record, and writes the report, of a run that won't be waited for."""
        record.close_at_once()
        self.write_report(record.directory)
        self._tracking.end("interrupted", AT_ONCE_SECONDS)

    def write_report(self, directory: Path) -> None:
        """Writes a run's report and the page of all runs. Their own failure must not hide how the run ended."""
        try:
            write_report(directory)
        except Exception as failure:
            details = _write_traceback(directory / "report_traceback.txt", failure)
            self._show(f"  {'report':<11} failed: {type(failure).__name__}: {failure}{details}")
        try:
            write_index(self._root)
        except Exception as failure:
            details = _write_traceback(directory / "index_traceback.txt", failure)
            self._show(f"  {'index':<11} failed: {type(failure).__name__}: {failure}{details}")
        self._share(directory)

    def unexpected(self, error: Exception, record: RunRecord | None) -> PipelineError:
        """An error that no step foresaw, as one message; the traceback goes to a file of the run."""
        if record is None:
            raise error
        details = _write_traceback(record.directory / "traceback.txt", error)
        steps = record.content["steps"]
        what = f"the files of {steps[-1]['name']} are written" if steps else "files are written"
        if disk.is_full(error):
            return disk.full_disk(error, self._root, what, SAME_COMMAND + details)
        if isinstance(error, OSError) or disk.is_refusing(error):
            return PipelineError(
                "the system must let a step read and write its files",
                received=f"{' '.join(str(error).split())}, while {what} below {self._root}",
                remedy=f"mend what it names and run the same command again{details}",
            )
        return PipelineError(
            "a step must name the reason for which it fails",
            received=f"{type(error).__name__}: {error}",
            remedy=f"this is a fault of the program: please report it{details}",
        )


def _write_traceback(path: Path, error: Exception) -> str:
    """Writes an error's traceback to a file; words that say where, or none where it can't be written."""
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return ""
    return f" (details: {path})"
