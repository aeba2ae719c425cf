"""Heads that models begin with: where they look before any training."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from repro.toy.heads import initialise_heads
from repro.toy.models import FAMILIES
from repro.toy.pretrain import prompt_frame
from repro.toy.sizes import SIZES, model_config
from repro.toy.tokenizers import train_tokenizer

PROMPT, TEXT = "A6 B5 C2 D4 E3 start 2 tip mix hop fix ? ? ? ?", "well 7 1 0 5"
STEPS = (" tip", " mix", " hop", " fix")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layer_looks_at_the_next_operation_at_the_start_and_at_the_option(family) -> None:
    tokenizer = train_tokenizer(family)
    torch.manual_seed(3)
    config = model_config(family, SIZES["student"], tokenizer)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    frame = prompt_frame(tokenizer)
    initialise_heads(model, tokenizer, frame)
    ids = tokenizer(PROMPT.join(frame) + TEXT, add_special_tokens=False, return_tensors="pt")["input_ids"]
    tokens = tokenizer.batch_decode(ids[0, :, None])
    with torch.no_grad():
        operation_TT, start_TT, match_TT = model(input_ids=ids, output_attentions=True).attentions[0][0, :3]
    opened = len(tokens) - 5  # the last token of the opening word
    for step, operation in enumerate(STEPS):
        assert tokens[int(operation_TT[opened + step].argmax())] == operation
    assert tokens[int(start_TT[opened].argmax())] == " 2"
    prompt_end = tokens.index(" tip") - 2
    assert tokens[int(match_TT[-1, :prompt_end].argmax())] == " B5"
