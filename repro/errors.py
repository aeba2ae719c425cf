"""Exceptions that reach the user as a single line."""


class InputError(Exception):
    """A mistake in the user's input; the message names the thing, the value and the fix. The command exits with 2."""


class StageError(Exception):
    """A stage ended without a result; the message names it, the cause, and its log. The command exits with 3."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: children are stopped, nothing is half-written. The message says what is kept; exits with 130."""
