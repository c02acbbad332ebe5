"""Results that are not numbers are an error, never a black image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_finite(values: NDArray[np.float32], stage: int, stages: int) -> None:
    """Refuse NaN and infinite values in what a stage computed.

    Args:
        values: of any shape.
        stage: counted from 0.
        stages: how many stages run.

    Raises:
        NonFiniteError: naming the stage.
    """
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"Stage {stage + 1} of {stages} computed NaN or infinite values. Check the plan with "
            "'clit-deploy verify'; an FP16 plan may overflow, so try the FP32 one."
        )
