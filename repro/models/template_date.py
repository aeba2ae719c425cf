"""The date that chat templates print. Imports no library.

Llama-3.2's template prints the day of the run: the prompts of a study would change at midnight, and on every resume. Every
template gets one date instead, whichever way it asks for it.
"""

from datetime import datetime

DATE = "26 Jul 2024"
"""ASSUMED (`recipes.assumed`): the date that Llama-3.1's template prints on every day."""
_CLOCK = datetime.strptime(DATE, "%d %b %Y")


def template_arguments(reasoning: bool) -> dict[str, bool | str]:
    """Return the chat template's arguments besides the messages that JSON can hold, the same here and in every trainer."""
    return {"enable_thinking": reasoning, "date_string": DATE}


def fixed_strftime(form: str) -> str:
    """Format the fixed date: the `strftime_now` of templates, which would read the clock."""
    return _CLOCK.strftime(form)
