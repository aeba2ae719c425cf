"""Check that two models share a vocabulary, before any work."""

from pathlib import Path

from repro.errors import InputError
from repro.models.chat_tokens import has_same_text_tokens
from repro.models.loading import load_tokenizer


def has_shared_vocabulary(teacher: Path | str, student: Path | str) -> bool:
    """Return True if every text token has the same id in both. Control tokens and padding may differ: they are masked."""
    return has_same_text_tokens(load_tokenizer(teacher), load_tokenizer(student))


def require_shared_vocabulary(teacher: Path | str, student: Path | str) -> None:
    """Check that a token-level KL is defined for a pair of models.

    Raises:
        InputError: the tokenizers differ; names both sizes and the fix.
    """
    if not has_shared_vocabulary(teacher, student):
        sizes = [len(load_tokenizer(model)) for model in (teacher, student)]
        raise InputError(
            f"teacher {teacher} (vocabulary {sizes[0]}) and student {student} (vocabulary {sizes[1]}) have different"
            " tokenizers, so there is no KL per token between them. Use a pair of one family; `repro traps` measures what"
            " needs no shared vocabulary."
        )
