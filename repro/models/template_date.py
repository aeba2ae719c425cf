"""The date that chat templates print. Imports no library.

Llama-3.2's template prints the current date, so the prompts of a study would change at midnight and on every resume.
Instead, every template gets the same date, however it asks for it.
"""

from datetime import datetime

DATE = "26 Jul 2024"
"""ASSUMED (`recipes.assumed`): the fixed date in Llama-3.1's template."""
_CLOCK = datetime.strptime(DATE, "%d %b %Y")


def template_arguments(reasoning: bool) -> dict[str, bool | str]:
    """Return the chat template's JSON-compatible arguments besides the messages, the same here and in every trainer."""
    return {"enable_thinking": reasoning, "date_string": DATE}


def fixed_strftime(form: str) -> str:
    """Format the fixed date; replaces the templates' `strftime_now`, which would read the clock."""
    return _CLOCK.strftime(form)
