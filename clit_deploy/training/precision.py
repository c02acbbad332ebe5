"""Which number type the products of a training run are computed in."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from clit_deploy.errors import TrainingError

WORTH = 1.5
"""`auto` takes bfloat16 where a product in it is at least this many times as fast as in float32:
converting costs some of the gain, and without instructions for it bfloat16 is slower."""

_SIDE = 512
_PRODUCTS = 2
_TURNS = 5


@dataclass(frozen=True)
class Precision:
    """The choice, and its reason in words."""

    bfloat16: bool
    reason: str

    @property
    def name(self) -> str:
        """As `--precision` has it."""
        return "bfloat16" if self.bfloat16 else "float32"


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve `auto`, and refuse what the device does not have.

    On a GPU the driver says whether it has bfloat16. On a CPU one matrix product is timed in both
    types, for a tenth of a second.

    Args:
        wanted: `auto`, `float32` or `bfloat16`.
        device: where the run trains.

    Raises:
        TrainingError: another name, or bfloat16 where it is not faster than float32.
    """
    if wanted not in ("auto", "float32", "bfloat16"):
        raise TrainingError(
            f"Unknown precision {wanted!r}; use --precision auto, float32 or bfloat16."
        )
    if wanted == "float32":
        return Precision(False, "float32, as requested")
    if device.type == "cuda":
        return _on_gpu(wanted)
    gain = bfloat16_gain()
    if wanted == "bfloat16" and gain < 1:
        raise TrainingError(
            f"This CPU has no bfloat16 instructions (a product takes {1 / gain:.1f} times as long "
            "as in float32); use --precision float32 or auto."
        )
    if wanted == "bfloat16" or gain >= WORTH:
        return Precision(True, f"bf16 on this CPU: products {gain:.1f} times as fast as float32")
    return Precision(False, f"float32 on this CPU: bf16 products are {gain:.1f} times as fast")


def _on_gpu(wanted: str) -> Precision:
    name = torch.cuda.get_device_name()
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision(True, f"bf16 on {name}")
    if wanted == "bfloat16":
        raise TrainingError(f"{name} has no bfloat16; use --precision float32 or auto.")
    return Precision(False, f"float32: {name} has no bfloat16")


def bfloat16_gain() -> float:
    """How many times as fast a large product is in bfloat16 as in float32 on this CPU.

    Processor time, the best of a few turns each, alternating: other work on the machine must not
    decide.
    """
    operands = [torch.ones(_SIDE, _SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    best = [float("inf")] * 2
    for turn in range(_TURNS + 1):
        for k, operand in enumerate(operands):
            start = time.process_time()
            for _ in range(_PRODUCTS):
                torch.mm(operand, operand)
            if turn:  # the first one loads code
                best[k] = min(best[k], time.process_time() - start)
    return best[0] / max(best[1], 1e-6)
