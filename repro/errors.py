"""The exceptions that reach a person as a single line."""


class InputError(Exception):
    """A mistake in what the user gave: names the thing, the value and the mend. The command exits with 2."""


class StageError(Exception):
    """A stage ended without a result; the message names it, the cause, and its log. The command exits with 3."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: children are stopped, nothing is half-written, the same command resumes. Exits with 130."""
