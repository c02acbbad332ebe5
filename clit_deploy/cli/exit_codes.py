"""The exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. One that a signal stopped exits with 128 plus the signal's number."""

    OK = 0
    ERROR = 1
    """The work could not be done; a message says why and how to fix it."""
    USAGE = 2
    """An option or argument is unknown, missing, invalid, or cannot be combined with others."""
    REGRESSION = 3
    """`profile-diff` found a regression."""
    NOT_COMPARABLE = 4
    """`profile-diff` was given profiles that are not comparable."""
    SOME_FAILED = 5
    """Some of several images failed; the others are finished."""


EXIT_CODES = (
    "Exit codes: 0 success; 1 error; 2 invalid command line; 3 regression and 4 not comparable "
    "(profile-diff); 5 some images failed (run, ray); 130 and 143 stopped by Ctrl-C and SIGTERM."
)
