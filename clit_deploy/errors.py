"""Every error that this package raises on purpose.

Each one is a `ClitDeployError` and also the matching builtin, so a caller may catch either.
The message is one sentence or two: what was found, and what to do about it.
"""


class ClitDeployError(Exception):
    """Base of all errors of this package."""


class MissingDependencyError(ClitDeployError, ImportError):
    """An optional library that the command needs is not installed."""


class MissingFileError(ClitDeployError, FileNotFoundError):
    """A named input file does not exist or is no regular file."""


class OptionError(ClitDeployError, ValueError):
    """An option or argument with a value that it cannot have."""


class ClosedError(ClitDeployError, RuntimeError):
    """An upscaler that is used after it was closed, or in a forked process."""


class NonFiniteError(ClitDeployError, ArithmeticError):
    """A graph computed NaN or infinite values."""


class CheckpointError(ClitDeployError, ValueError):
    """A checkpoint cannot be read, or its tensors do not fit its own description."""


class UnsupportedModelError(ClitDeployError, ValueError):
    """A model family, encoder or option that this version does not know."""


class PlanError(ClitDeployError, ValueError):
    """A file is not a plan of this version, or is damaged."""


class DamageError(PlanError):
    """A member of a plan is not what was written."""


class ParityError(ClitDeployError, ArithmeticError):
    """The deployed graphs disagree with the model that they were made from."""


class ImageError(ClitDeployError, ValueError):
    """An image cannot be read or has a form that cannot be upscaled."""


class SizeError(ClitDeployError, ValueError):
    """A scale or an output size that makes no sense or that a format cannot hold."""


class CoordinateError(ClitDeployError, ValueError):
    """Coordinates, a place or a matrix that make no sense for the image."""


class MemoryBudgetError(ClitDeployError, MemoryError):
    """The work does not fit into the memory that was allowed."""


class ThreadLimitError(ClitDeployError, RuntimeError):
    """The system does not let this process start another thread."""


class RuntimeUnavailableError(ClitDeployError, RuntimeError):
    """The runtime that was asked for is not present on this machine."""


class TrainingError(ClitDeployError, ValueError):
    """A training run that cannot start or go on."""


class ProfileError(ClitDeployError, ValueError):
    """A profile that makes no sense, or a file that is none of this version."""


class NotComparableError(ProfileError):
    """Two profiles that say nothing about each other."""


class CalibrationError(ClitDeployError, ValueError):
    """Images that one cannot calibrate with, or a plan that cannot be quantised."""


class AccuracyError(ClitDeployError, ArithmeticError):
    """A quantised plan loses more accuracy than was allowed."""


class GraphError(ClitDeployError, ValueError):
    """An ONNX graph is not valid, or has operators that are ruled out."""


class GraphRunError(ClitDeployError, RuntimeError):
    """A runtime cannot load or run a graph."""


class DeviceError(GraphRunError):
    """A device, or what drives it, refuses to do something."""


class DeviceMemoryError(MemoryBudgetError):
    """A device has no room for what it is asked to do.

    `room` is how many bytes this process can have there, where that is known.
    """

    def __init__(self, message: str, room: int | None = None) -> None:
        super().__init__(message)
        self.room = room


class EngineError(ClitDeployError, ValueError):
    """An engine that is damaged, was built for something else, or is asked for other shapes."""


class UnfitEngineError(EngineError):
    """Engines that are for another library or device, or that the library cannot load."""


class BuildError(ClitDeployError, RuntimeError):
    """TensorRT does not make an engine of a graph."""


class OutputExistsError(ClitDeployError, FileExistsError):
    """The output file exists and may not be overwritten."""


class OutputError(ClitDeployError, OSError):
    """The output file cannot be written."""


def error_message(error: BaseException) -> str:
    """An error in words, without the number that the builtin puts before an `OutputError`."""
    if isinstance(error, OutputError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
