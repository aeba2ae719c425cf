"""The one exception that reaches a person as a single line."""


class InputError(Exception):
    """A mistake in what the user gave: names the thing, the value and the mend. The command exits with 2."""
