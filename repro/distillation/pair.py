"""Check that a teacher's next-token distribution can be compared with a student's, and over which ids."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repro.errors import InputError
from repro.models.chat_tokens import control_tokens, end_of_turn_id, has_same_text_tokens
from repro.models.loading import generation_eos_ids, load_config, load_model, load_tokenizer


@dataclass(frozen=True)
class Vocabularies:
    """Sizes of the two output layers, and the number of ids, from 0 up, that a divergence compares."""

    teacher: int
    student: int
    compared: int

    def record(self) -> dict[str, int]:
        """Return the entries of a stage's summary."""
        return {f"{name}_vocabulary": size for name, size in asdict(self).items()}


def check_pair(teacher: Path | str, student: Path | str) -> Vocabularies:
    """Check that every text token and the end of turn have the same id in both models. Reads no weights.

    Output layers of different width are fine if the extra ids of the wider one are padding or control tokens (Gemma-3:
    262,144 rows at 1B, 262,208 from 4B up): only the common ids are compared (`fit_vocabulary`).

    Raises:
        InputError: no token-level divergence is defined; names both vocabularies and the reason.
    """
    tokenizers = [load_tokenizer(model) for model in (teacher, student)]
    sizes = [vocabulary_size(model) for model in (teacher, student)]
    if not has_same_text_tokens(*tokenizers):
        raise InputError(
            f"teacher {teacher} (vocabulary {sizes[0]}) and student {student} (vocabulary {sizes[1]}) have"
            " different tokenizers, so there is no KL per token between them: use method 'sft', or a student of"
            " the teacher's family."
        )
    ends = [end_of_turn_id(tok, generation_eos_ids(model)) for tok, model in zip(tokenizers, (teacher, student))]
    if ends[0] != ends[1]:
        names = [tok.convert_ids_to_tokens(end) for tok, end in zip(tokenizers, ends)]
        raise InputError(
            f"teacher {teacher} ends its turn with id {ends[0]} ({names[0]}), student {student} with id {ends[1]}"
            f" ({names[1]}): a student trained on the teacher's completions would not learn to stop. Use method 'sft', or give both one chat"
            " template and one end token."
        )
    compared = min(sizes)
    unshared = sorted(
        token
        for tokenizer, size in zip(tokenizers, sizes)
        for token, number in tokenizer.get_vocab().items()
        if compared <= number < size and number not in control_tokens(tokenizer)
    )
    if unshared:
        raise InputError(
            f"teacher vocab {sizes[0]} and student vocab {sizes[1]} differ ({teacher}, {student}), and ids that only"
            f" one of them has stand for text ({', '.join(map(repr, unshared[:3]))}): use method 'sft', or a student of the"
            " teacher's family."
        )
    return Vocabularies(sizes[0], sizes[1], compared)


def fit_vocabulary(model: Any, compared: int) -> Any:
    """Cut the model's input and output embeddings to the compared ids; the rest is padding.

    They are cut rather than masked, so that both models' softmax runs over the same ids and the saved student has no
    others.
    """
    if model.config.get_text_config().vocab_size > compared:
        model.resize_token_embeddings(compared)
    return model


def load_frozen(model: Path | str | None, vocabularies: Vocabularies | None, shard: bool) -> Any:
    """Load a frozen model, cut to the ids that both models of the pair have; on the CPU if it will be sharded."""
    assert model is not None  # both are checked before training: `check_pair` gives the vocabularies
    assert vocabularies is not None
    return fit_vocabulary(load_model(model, to_gpu=not shard), vocabularies.compared)


def vocabulary_size(model: Path | str) -> int:
    """Return the number of rows of the output layer."""
    return int(load_config(model).get_text_config().vocab_size)
