"""Whether a teacher's next-token distribution can be compared with a student's."""

from pathlib import Path

from repro.errors import InputError
from repro.models import load_config, load_tokenizer
from repro.turns import same_tokenizer


def check_pair(teacher: Path | str, student: Path | str) -> None:
    """A token-level divergence needs one tokenizer and one output layer width. Reads no weights.

    Raises:
        InputError: names both vocabulary sizes and the mend.
    """
    tokenizers = [load_tokenizer(model) for model in (teacher, student)]
    sizes = [load_config(model).get_text_config().vocab_size for model in (teacher, student)]
    if not same_tokenizer(*tokenizers):
        raise InputError(
            f"teacher {teacher} (vocabulary {sizes[0]}) and student {student} (vocabulary {sizes[1]}) have"
            " different tokenizers, so no KL per token exists between them: use method 'sft', or a student of"
            " the teacher's family."
        )
    if sizes[0] != sizes[1]:
        raise InputError(
            f"teacher vocab {sizes[0]} and student vocab {sizes[1]} differ ({teacher}, {student}): the"
            " tokenizer is the same and one output layer is padded. Save the narrower model again after"
            f" model.resize_token_embeddings({max(sizes)}), or use method 'sft'."
        )
