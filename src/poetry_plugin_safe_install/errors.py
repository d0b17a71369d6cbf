"""What can go wrong, in words a user can act on."""

from __future__ import annotations

from cleo.exceptions import CleoUserError


class SafeInstallError(CleoUserError):
    """An error that ends the command: its text says what failed and what to do.

    Cleo shows errors of this family as their text alone, without a stack trace
    (``cleo.application.Application.render_error``, cleo 2.1). It takes the text for
    markup, so ``str`` gives it escaped; ``text`` is the text as it is.
    """

    exit_status = 1

    def __str__(self) -> str:
        from cleo.formatters.formatter import Formatter

        return Formatter.escape(self.text)

    @property
    def text(self) -> str:
        return super().__str__()


class LockTimeoutError(SafeInstallError):
    """A lock could not be taken within the time the user allows."""

    exit_status = 75
    """EX_TEMPFAIL of sysexits.h: it may work later."""


class MutualWaitError(LockTimeoutError):
    """Commands wait for each other; this is the one that gives up."""


class LockUnavailableError(SafeInstallError):
    """A lock cannot be taken here at all, whether or not somebody else wants it.

    ``errno`` is what the system answered, 0 if it was not asked.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class SettingError(SafeInstallError):
    """A setting of this plugin has an unknown name or a value that is not allowed."""


class SelfChangeRefusedError(SafeInstallError):
    """The command would damage the Poetry that runs it."""


class NotKnownError(SafeInstallError):
    """What an install would do cannot be said, though it may well succeed."""


class ProjectChangedError(SafeInstallError):
    """Somebody has changed a file that the command has read and was about to write."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has changed since this command read it; nothing was written"
        )


class OwnEnvironmentError(SafeInstallError):
    """The command would remove the environment that this Poetry runs from."""


class TempDirectoryError(SafeInstallError):
    """No temporary directory is usable for isolated builds."""


class ExternallyManagedError(SafeInstallError):
    """The command would install into a Python that the system manages (PEP 668)."""


class EnvironmentChangeError(SafeInstallError):
    """A package could not be installed or removed as a whole."""


def exit_status_of(error: Exception) -> int:
    """The exit status that an error ends the command with."""
    return error.exit_status if isinstance(error, SafeInstallError) else 1
