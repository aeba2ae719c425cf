"""Whether two models share a vocabulary, told before any work."""

from pathlib import Path

from repro.errors import InputError
from repro.models.chat_tokens import has_same_text_tokens
from repro.models.loading import load_tokenizer


def has_shared_vocabulary(teacher: Path | str, student: Path | str) -> bool:
    """Whether every id of text means the same to both. Control tokens and padding may differ: these ids are masked."""
    return has_same_text_tokens(load_tokenizer(teacher), load_tokenizer(student))


def require_shared_vocabulary(teacher: Path | str, student: Path | str) -> None:
    """Refuse a pair without a token KL.

    Raises:
        InputError: names both vocabularies' sizes and the mend.
    """
    if not has_shared_vocabulary(teacher, student):
        sizes = [len(load_tokenizer(model)) for model in (teacher, student)]
        raise InputError(
            f"teacher {teacher} (vocabulary {sizes[0]}) and student {student} (vocabulary {sizes[1]}) have different"
            " tokenizers, so no KL per token exists between them. Take a pair of one family; `repro traps` measures what"
            " needs no shared vocabulary."
        )
