"""How many steps long jobs report, so that the first one can say of how many it is."""

from __future__ import annotations

from clit_deploy.config import Precision

EXPORT_STEPS = 5
"""Read, export the encoder and the stages, check, write."""

PRECISION_STEPS = {
    Precision.FP32: 0,
    Precision.FP16: 2,
    Precision.INT8: 5,
    Precision.INT8_FP16: 7,
}
"""Steps that a precision adds to an export, and all steps of a calibration."""
