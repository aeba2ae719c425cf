"""Preview one prompt of a planned stage on one line, as its model will read it."""

from collections.abc import Iterator
from pathlib import Path

from repro.models.loading import is_toy_model, load_tokenizer, locate
from repro.stages import Calibrate, Stage, topological_order
from repro.tasks import registry

HEAD, TAIL = 180, 120
"""Number of characters shown from a prompt's beginning and end, where the instruction is."""


def prompt_lines(stage: Stage) -> Iterator[str]:
    """Yield the first prompt of each model that answers or trains on the user's rows, inputs first.

    For a model in a folder the chat template is applied, since its tokenizer has already been read for the stage's
    identity; for a toy name or hub id only the user message is shown, so that planning stays instant. Hub rows are not
    fetched for a plan.

    Raises:
        InputError: a file of rows cannot be read.
    """
    previewed = set()
    for needed in topological_order([stage]):
        source = next((data for data in needed.data if data.is_local), None)
        readers = needed.prompted_models()
        if source is None or not readers:
            continue
        template_of = needed.prompts_of if isinstance(needed, Calibrate) else None
        name = template_of.name if template_of else next(iter(readers))
        if name in previewed:
            continue
        previewed.add(name)
        task = registry.get(
            source.task,
            data=source.file,
            revision=source.revision,
            fields=source.fields,
            instruction=source.instruction,
        )
        message = task.items(source.split, 1, source.seed)[0].prompt
        location = locate(name)
        if is_toy_model(name) or not isinstance(location, Path):
            yield f"prompt of {name}, before its chat template: {escape_line(message)}"
            continue
        from repro.models.chat_tokens import render

        user = [{"role": "user", "content": message}]
        text = render(load_tokenizer(location), user, generation_prompt=True, reasoning=readers[name])
        yield f"prompt of {name}: {escape_line(text)}"


def escape_line(text: str) -> str:
    """Escape control and other unprintable characters, and elide the middle of long text."""
    if len(text) > HEAD + TAIL:
        left_out = len(text) - HEAD - TAIL
        return f"{_escape(text[:HEAD])} [... {left_out:,} characters ...] {_escape(text[-TAIL:])}"
    return _escape(text)


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
