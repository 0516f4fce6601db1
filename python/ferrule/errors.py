"""Errors that end a command, each with the exit code and the one line an operator reads.

A leaf: it knows nothing of settings, sockets or workers.
"""

EXIT_OK = 0
EXIT_FAILURE = 1  # the machine said no: a port in use, a permission missing
EXIT_USAGE = 2  # a flag, a variable or a file says something that cannot be
EXIT_BOOT = 3  # the application did not come up in any worker


def reason(error: Exception) -> str:
    """Why something cannot be done, in few words."""
    return str(error) or type(error).__name__


class FerruleError(Exception):
    """What went wrong, in one line fit for an operator."""

    exit_code = EXIT_FAILURE
    traceback: str | None = None  # of the user's own code, where that is to blame


class ConfigError(FerruleError):
    """A setting that cannot be; the message names where it was given, its value and what was expected."""

    exit_code = EXIT_USAGE


class BindError(FerruleError):
    """An address that cannot be listened on."""


class AppError(FerruleError):
    """The application cannot be used. `traceback` is set when the user's own code raised."""

    exit_code = EXIT_BOOT

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.traceback = traceback
