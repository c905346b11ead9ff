"""How near a served score must come to the one that it should be."""

import dataclasses
import math

from components.contract.reports import ServingModelReport
from components.validation.params import ValidateParams

LEAST = 2.0**-6
"""Of a model in bfloat16, which has 8 binary digits: four times the last of them."""
NOT_MEASURED = 0.05
"""What is taken for the largest difference of two log-probabilities where the export measured none."""
MOST = 0.5
"""However much rounding does: a score must be of the right size."""
FLOAT32 = "float32"


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest relative differences of scores that are allowed.

    Attributes:
        checkpoint: From the checkpoint's in float32.
        own: From the checkpoint's in the export's own precision, computed in this process, and of an answer among
            others from the same alone; None for float32, where that is the same as `checkpoint`.
    """

    checkpoint: float
    own: float | None = None

    @classmethod
    def of(cls, params: ValidateParams, export: ServingModelReport) -> "Tolerance":
        """The tolerance for an export.

        Of a bfloat16 model it follows from what the export measured: the largest difference d that rounding made to a
        log-probability, over some thousand masked tokens. Two ways to compute the same in bfloat16, such as with other
        rows in the batch, round unlike each other by at most as much as either rounds unlike float32, so that scores
        differ by a factor of exp(d) at most. A score that is asked of a server differs from the checkpoint's by what
        rounding makes and by what another way of computing makes, exp(2 d). Neither is allowed more than `MOST`.

        Args:
            params: Whose tolerance, if given, stands in the place of both.
            export: Says the precision, and what was measured.
        """
        if export.precision == FLOAT32:
            return cls(params.allowed)
        if params.tolerance is not None:
            return cls(params.tolerance, params.tolerance)
        found = [each.largest_difference for each in export.accuracy if each.form == export.precision]
        largest = min(found[0] if found else NOT_MEASURED, MOST)
        own, checkpoint = (min(max(LEAST, math.expm1(times * largest)), MOST) for times in (1, 2))
        return cls(max(checkpoint, params.allowed), max(own, params.allowed))
