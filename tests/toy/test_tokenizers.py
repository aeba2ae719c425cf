"""Both tokenizers: round trip, and the tokens of prompt + completion are those of the prompt followed by the completion."""

import random

import pytest
from transformers import PreTrainedTokenizerFast

from repro.tasks.toy import TASK_NAMES, get_task
from repro.toy.models import FAMILIES
from repro.toy.pretrain import conversation_frame, prompt_frame
from repro.toy.questions import LEAP, Habits, write
from repro.toy.tokenizers import train_tokenizer
from repro.toy.world import ATTRIBUTES, DEFAULT_WORLD, OPENERS, OPERATIONS, STATES

HABITS = Habits(leaps=0.5, fitting=0.0, rechecks=0.3)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {family: train_tokenizer(family) for family in FAMILIES}


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _text(name: str, index: int) -> str:
    question = get_task(name).questions("train")[index]
    return write(DEFAULT_WORLD, question, HABITS, random.Random(index))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TASK_NAMES)
def test_round_trip_and_prefix(tokenizers, family: str, name: str) -> None:
    tokenizer = tokenizers[family]
    before, after = prompt_frame(tokenizer)
    for index, question in enumerate(get_task(name).questions("train")[:25]):
        head, tail = before + question.prompt + after, _text(name, index)
        assert tokenizer.decode(_ids(tokenizer, tail)) == tail
        assert tokenizer.decode(_ids(tokenizer, question.prompt)) == question.prompt
        assert _ids(tokenizer, head + tail) == _ids(tokenizer, head) + _ids(tokenizer, tail)
        assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in _ids(tokenizer, head + tail)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frames_are_what_the_chat_template_writes(tokenizers, family: str) -> None:
    tokenizer = tokenizers[family]
    turns = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": "a text"}]
    before, after = prompt_frame(tokenizer)
    rendered = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=False)
    assert before + "a question" + after == rendered
    before, between, after = conversation_frame(tokenizer)
    assert before + "a question" + between + "a text" + after == tokenizer.apply_chat_template(turns, tokenize=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_operations_options_attributes_and_leaps_are_single_tokens(tokenizers, family: str) -> None:
    options = [f"{letter}{state}" for letter in "BCDEFGH" for state in STATES]
    words = [
        *map(str, STATES),
        *OPERATIONS,
        *options,
        LEAP,
        *ATTRIBUTES,
        *(w for ws in ATTRIBUTES.values() for w in ws),
    ]
    assert [word for word in words if len(_ids(tokenizers[family], f" {word}")) != 1] == []


def test_every_opening_word_has_the_same_number_of_tokens(tokenizers) -> None:
    assert {len(_ids(tokenizers["qwen3"], word)) for word in OPENERS} == {1}
    assert {len(_ids(tokenizers["gemma3"], word)) for word in OPENERS} == {2}
    assert len({_ids(tokenizers["gemma3"], word)[0] for word in OPENERS}) == len(OPENERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_again_gives_the_same_tokenizer(tokenizers, family: str) -> None:
    assert train_tokenizer(family).backend_tokenizer.to_str() == tokenizers[family].backend_tokenizer.to_str()


def test_the_families_split_text_differently(tokenizers) -> None:
    text = _text("toy-bm5", 0)
    pieces = [tokenizers[family].convert_ids_to_tokens(_ids(tokenizers[family], text)) for family in FAMILIES]
    assert len(pieces[0]) != len(pieces[1])
    assert tokenizers["qwen3"].get_vocab() != tokenizers["gemma3"].get_vocab()


def test_only_gemma3_begins_with_bos_and_only_once(tokenizers) -> None:
    gemma = tokenizers["gemma3"]
    ids = gemma.apply_chat_template(
        [{"role": "user", "content": "start 1 swap"}], add_generation_prompt=True, return_dict=False
    )
    assert ids.count(gemma.bos_token_id) == 1
    assert ids[0] == gemma.bos_token_id
    assert gemma("start 1")["input_ids"][0] == gemma.bos_token_id
    assert tokenizers["qwen3"].bos_token_id is None


@pytest.mark.parametrize("family", FAMILIES)
def test_an_assistant_turn_ends_with_the_end_token(tokenizers, family: str) -> None:
    tokenizer = tokenizers[family]
    turns = [{"role": "user", "content": "start 1 swap"}, {"role": "assistant", "content": "\\boxed{1}"}]
    ids = tokenizer.apply_chat_template(turns, return_dict=False)
    assert ids.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(ids).rstrip("\n").endswith("\\boxed{1}" + tokenizer.eos_token)
