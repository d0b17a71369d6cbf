"""The events of a command, and the story that is told by them."""

from __future__ import annotations

import sys

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.events.console_terminate_event import ConsoleTerminateEvent
    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.plugins.plugin_manager import PluginManager

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.files import Files


class Protection:
    """What the story of a protected command is told by, moment after moment."""

    def plugins_loaded(self) -> Protection:
        """All plugins are loaded and constructed, none is activated yet.

        :return: what goes on from here, which may be another story.
        """
        return self

    def plugins_activated(self, *, listen: bool) -> None:
        """All plugins are activated; ``listen``: some other than this one to events."""

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        """Before every other listener, Poetry's own included."""

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        """After every other listener, just before the command's own code."""

    def command_terminates(self, event: ConsoleTerminateEvent) -> None:
        """After every other listener: the command's own code has ended, or a called one's.

        A command may call others (``Command.call`` of cleo); each starts, runs and
        terminates within it.
        """

    @property
    def files(self) -> Files | None:
        """How the command writes files; ``None`` where nobody else may write them."""
        return None

    def exit_status(self, status: int) -> int:
        """What the command ends with, where Poetry would end with this status."""
        return status

    def command_ended(self) -> None:
        """Once, in whichever way the command has ended."""


if TYPE_CHECKING:
    Protect: TypeAlias = Callable[[StartingCommand], Protection | None]


EVENTS = Internals("the events of a command")
"""Patched while a protected command runs."""


def begin(
    protect: Protect, manager: PluginManager, application: Application
) -> _ProtectedCommand | None:
    """The command with its protection, if it has any; all plugins are loaded."""
    from poetry_plugin_safe_install.compat.command_line import COMMAND_LINE
    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.command_line import io_of

    command, protected = None, None
    try:
        COMMAND_LINE.check()
        command = StartingCommand(manager, application)
        protection = protect(command)
        if protection is None:
            return None
        protected = _ProtectedCommand(command, protection)
        check_all()
        protected.loaded()
    except Exception as error:
        if protected:
            protected.end()
        if command:
            command.explain(error)
        else:
            from poetry_plugin_safe_install.compat.faults import explain
            from poetry_plugin_safe_install.compat.faults import warn

            warn(io_of(application), explain(error))
        return None
    return protected


def check_all() -> None:
    """Check what nearly every protected command needs.

    :raises UnknownPoetryError: if something of it is missing.
    """
    from poetry_plugin_safe_install.compat.environments import ENVIRONMENTS

    for internals in (EVENTS, ENVIRONMENTS):
        internals.check()


class _ProtectedCommand:
    """One command and its protection, told of each moment until the command has ended."""

    def __init__(self, command: StartingCommand, protection: Protection) -> None:
        self._command = command
        self._protection = protection
        self._ended = False

    def loaded(self) -> None:
        self._protection = self._protection.plugins_loaded()

    def activated(self, *, listen: bool) -> None:
        self._tell(lambda: self._protection.plugins_activated(listen=listen))

    @EVENTS.uses("cleo.application", "Application.event_dispatcher")
    def listen(self, application: Application) -> None:
        from cleo.events.console_events import COMMAND
        from cleo.events.console_events import TERMINATE

        dispatcher = application.event_dispatcher
        assert dispatcher is not None
        first, last = sys.maxsize, -sys.maxsize
        dispatcher.add_listener(COMMAND, self._starts, first)
        dispatcher.add_listener(COMMAND, self._runs, last)
        dispatcher.add_listener(TERMINATE, self._terminates, last)
        setattr(application, ATTRIBUTE, self)
        self._command.patch(EVENTS, None)

    def _starts(self, event: Any, *_: object) -> None:
        self._tell(lambda: self._protection.command_starts(event))

    def _runs(self, event: Any, *_: object) -> None:
        self._tell(lambda: self._protection.command_runs(event))

    def _terminates(self, event: Any, *_: object) -> None:
        self._tell(lambda: self._protection.command_terminates(event))

    def _tell(self, moment: Callable[[], None]) -> None:
        """Go on without protection where it fails; let pass what is meant for the user."""
        if self._ended:
            return
        try:
            moment()
        except Exception as error:
            from poetry_plugin_safe_install.compat.faults import is_own_fault

            if not is_own_fault(error):
                raise
            self.end()
            self._command.explain(error)

    def exit_status(self, status: int) -> int:
        return self._protection.exit_status(status)

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            self._protection.command_ended()
        except Exception as error:
            self._command.explain(error)
        finally:
            self._command.end()

    def __del__(self) -> None:
        """Poetry has dropped an ``Application`` whose plugins it has activated only."""
        self.end()


ATTRIBUTE = "_safe_install"
"""Of an ``Application``: the protection of its command."""


@EVENTS.uses("cleo.application", "Application.render_error")
@EVENTS.around("cleo.application", "Application._run")
def _run(
    _: None, original: Callable[..., int], application: Application, io: IO
) -> int:
    """All that a command does, Poetry's handling of its errors excepted.

    ``TERMINATE`` is not sent after ``SystemExit`` and ``KeyboardInterrupt``.
    """
    protected: _ProtectedCommand | None = vars(application).pop(ATTRIBUTE, None)
    if protected is None:
        return original(application, io)
    try:
        return _run_protected(protected, original, application, io)
    except KeyboardInterrupt:
        return protected.exit_status(1)  # as ``Application.run`` does


def _run_protected(
    protected: _ProtectedCommand,
    original: Callable[..., int],
    application: Application,
    io: IO,
) -> int:
    try:
        return protected.exit_status(original(application, io))
    except Exception as error:
        from poetry_plugin_safe_install.errors import exit_status_of

        status = protected.exit_status(exit_status_of(error))
        if status == 1:
            raise
        application.render_error(error, io)  # ``Application.run`` would end with 1
        return status
    finally:
        protected.end()


@EVENTS.uses("cleo.events.event_dispatcher", "EventDispatcher.get_listeners")
def listeners(application: Application) -> int:
    """How many listeners there are to console events."""
    from cleo.events.console_events import COMMAND
    from cleo.events.console_events import ERROR
    from cleo.events.console_events import SIGNAL
    from cleo.events.console_events import TERMINATE

    dispatcher = application.event_dispatcher
    if dispatcher is None:
        return 0
    return sum(
        len(dispatcher.get_listeners(event))
        for event in (COMMAND, ERROR, SIGNAL, TERMINATE)
    )
