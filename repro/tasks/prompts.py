r"""The wording of every prompt. ASSUMED: the paper's appendix H names two prompts, but their text is lost.

One instruction for numeric answers, one for single-choice answers, none for open-ended tasks. They ask for the two
formats that `grading` reads: `\boxed{}` and `Answer: X`.
"""

from collections.abc import Sequence

from repro.tasks.extraction import LETTERS
from repro.tasks.task import Kind

INSTRUCTIONS: dict[Kind, str] = {
    "numeric": r"Reason step by step, and put the final answer alone within \boxed{}.",
    "choice": (
        'Reason step by step, then end with a line of the form "Answer: X", where X is the letter of the one'
        " option that is right."
    ),
    "open": "",
}


def add_instruction(kind: Kind, text: str, instruction: str | None = None) -> str:
    """Return the user message: the question, then an instruction.

    Args:
        instruction: None for that of the kind; "" for the question alone.
    """
    instruction = INSTRUCTIONS[kind] if instruction is None else instruction
    return f"{text}\n\n{instruction}" if instruction else text


def append_options(question: str, options: Sequence[str]) -> str:
    """Return the question with its options, one lettered line each."""
    return "\n".join([question, "", *(f"{letter}. {option}" for letter, option in zip(LETTERS, options))])
