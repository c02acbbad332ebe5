"""Every error that this package raises on purpose.

Each one is a `ClitDeployError` and also the matching builtin, so a caller may catch either.
The message is one sentence or two: what was found, and how to fix it. Text from a file goes through
`quote` first.
"""

QUOTED = 200
"""Most characters of foreign text in one message."""


class ClitDeployError(Exception):
    """Base of all errors of this package."""


class MissingDependencyError(ClitDeployError, ImportError):
    """An optional library that the command needs is not installed."""


class MissingFileError(ClitDeployError, FileNotFoundError):
    """An input file does not exist or is not a regular file."""


class OptionError(ClitDeployError, ValueError):
    """An option or argument has a value that is not valid."""


class ClosedError(ClitDeployError, RuntimeError):
    """An upscaler was used after it was closed, or in a forked process."""


class CancelledError(ClitDeployError, RuntimeError):
    """The caller of a render no longer wants it."""


class BusyError(ClitDeployError, RuntimeError):
    """Too much work is waiting already."""


class UploadError(ClitDeployError, ValueError):
    """An image that a page sends is not allowed, or too large."""


class NonFiniteError(ClitDeployError, ArithmeticError):
    """A graph computed NaN or infinite values."""


class CheckpointError(ClitDeployError, ValueError):
    """A checkpoint cannot be read, or its tensors do not match its description."""


class UnsupportedModelError(ClitDeployError, ValueError):
    """This version does not support the model family, encoder or hyperparameter."""


class PlanError(ClitDeployError, ValueError):
    """A file is not a plan that this version can use."""


class DamageError(PlanError):
    """A member of a plan is damaged: it is missing, cut off, or does not match its digest."""


class ParityError(ClitDeployError, ArithmeticError):
    """Graphs differ from the model that they were made from by more than the tolerance."""


class ImageError(ClitDeployError, ValueError):
    """An image cannot be read or upscaled."""


class SizeError(ClitDeployError, ValueError):
    """A scale or an output size is not valid, or too large for the file format."""


class CoordinateError(ClitDeployError, ValueError):
    """Coordinates or a matrix are not valid for the image."""


class MemoryBudgetError(ClitDeployError, MemoryError):
    """The work needs more memory than is allowed."""


class ThreadLimitError(ClitDeployError, RuntimeError):
    """The system does not let this process start another thread."""


class PortError(ClitDeployError, OSError):
    """The viewer cannot listen on a port."""


class RuntimeUnavailableError(ClitDeployError, RuntimeError):
    """The requested runtime is not available on this machine."""


class TrainingError(ClitDeployError, ValueError):
    """A training run cannot start or continue."""


class ProfileError(ClitDeployError, ValueError):
    """A profiling option is not valid, or a file is not a profile of this version."""


class NotComparableError(ProfileError):
    """Two profiles are not comparable."""


class CalibrationError(ClitDeployError, ValueError):
    """Calibration is not possible with these images, options or this plan."""


class AccuracyError(ClitDeployError, ArithmeticError):
    """A quantized plan loses more accuracy than is allowed."""


class GraphError(ClitDeployError, ValueError):
    """An ONNX graph is not valid, or contains something that plans must not contain."""


class GraphRunError(ClitDeployError, RuntimeError):
    """A runtime cannot load or run a graph."""


class DeviceError(GraphRunError):
    """A device or its driver reports an error."""


class DeviceMemoryError(MemoryBudgetError):
    """The device is out of memory.

    `room` is the number of bytes that this process can use there, if known.
    """

    def __init__(self, message: str, room: int | None = None) -> None:
        super().__init__(message)
        self.room = room


class EngineError(ClitDeployError, ValueError):
    """An engine is damaged, does not match its graph, or does not accept the requested shapes."""


class UnfitEngineError(EngineError):
    """Engines were built for another library or device, or the library cannot load them."""


class BuildError(ClitDeployError, RuntimeError):
    """TensorRT cannot build an engine from a graph."""


class OutputExistsError(ClitDeployError, FileExistsError):
    """The output file exists and must not be overwritten."""


class OutputError(ClitDeployError, OSError):
    """The output file cannot be written."""


class ResumeError(ClitDeployError, ValueError):
    """Finished rows that were kept belong to another run, or are damaged."""


class ManifestError(ClitDeployError, ValueError):
    """A manifest of results is damaged, or belongs to another plan or other options."""


class ClusterError(ClitDeployError, RuntimeError):
    """Ray cannot be reached or was lost, or one of its nodes cannot do the work."""


class SomeFailedError(ClitDeployError, RuntimeError):
    """Some of several images failed; the others are finished."""


def error_message(error: BaseException) -> str:
    """The text of an error without control characters; line ends stay.

    An `OutputError` has no number in front of it, which `OSError` would add.
    """
    text = error.strerror if isinstance(error, OutputError) and error.strerror else str(error)
    return "\n".join(map(printable, text.split("\n"))) or type(error).__name__


def quote(foreign: object) -> str:
    """Text of a file or an option, for a message.

    Returns: the text in quotes, or a value as Python writes it; at most 200 characters, and no
        control characters among them.
    """
    text = foreign[:QUOTED] if isinstance(foreign, str) else foreign
    try:
        shown = repr(text)
    except ValueError:  # Python refuses to write integers of thousands of digits
        shown = "a huge number"
    return shown if len(shown) <= QUOTED else f"{shown[: QUOTED - 3]}..."


def printable(foreign: object, length: int | None = None) -> str:
    """Text of a file or a library as one line that is safe to print.

    Returns: at most `length` characters, with `?` for every control character and lone surrogate,
        and without white space at the ends.
    """
    line = " ".join(part.strip() for part in str(foreign).splitlines())
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:length]
