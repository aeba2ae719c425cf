"""What layers save for the backward pass, measured on the CPU, against the planner's counts of it."""

import math

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen3Config, Qwen3ForCausalLM

from repro.planner.activations import held_by_forward, saved_by_layer, saved_for_backward, weight_copies
from repro.planner.architectures import PUBLISHED, Architecture

BATCH, LENGTH = 2, 96
TOKENS = BATCH * LENGTH


def qwen3(hidden, intermediate, heads, key_heads, head):
    config = Qwen3Config(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=head,
    )
    return Qwen3ForCausalLM, config, Architecture(1.0, 1, hidden, 64, intermediate, heads, key_heads, head)


def gemma3(hidden, intermediate, heads, key_heads, head):
    config = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=head,
    )
    return Gemma3ForCausalLM, config, Architecture(1.0, 1, hidden, 64, intermediate, heads, key_heads, head, norms=4)


LAYERS = {
    "Qwen3-0.6B, the small scale's student": qwen3(1024, 3072, 16, 8, 128),
    "Qwen3-1.7B": qwen3(2048, 6144, 16, 8, 128),
    "Gemma-3-270m": gemma3(640, 2048, 4, 1, 256),
    "Gemma-3-1b": gemma3(1152, 6912, 4, 1, 256),
}


def zeros(kind, config, dtype=torch.float32):
    """A model of zeros: what it saves and holds does not depend on its weights, and random numbers would take longer."""
    with torch.device("meta"):
        model = kind(config).to(dtype)
    model.to_empty(device="cpu")
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.zero_()
    model.tie_weights()
    return model


def saved_bytes(kind, config, layers, checkpointed=False):
    """Bytes of activations and of copied weights that a forward pass saves: float32 weights, bfloat16 autocast, padding."""
    config.num_hidden_layers, config.layer_types = layers, ["full_attention"] * layers
    config._attn_implementation = "sdpa"
    model = zeros(kind, config).train()
    if checkpointed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def save(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids = torch.randint(0, 64, (BATCH, LENGTH))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0  # padded on the left, as trainers do
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    sizes = [(tensor.untyped_storage().nbytes(), {LENGTH, TOKENS} & set(tensor.shape)) for tensor in kept.values()]
    return sum(size for size, of_tokens in sizes if of_tokens), sum(size for size, of_tokens in sizes if not of_tokens)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_keeps_what_is_planned_within_a_tenth(name):
    kind, config, shape = LAYERS[name]
    one, two = saved_bytes(kind, config, 1), saved_bytes(kind, config, 2)
    activations, copies = (after - before for before, after in zip(one, two))
    planned = saved_by_layer(shape, TOKENS, LENGTH)
    print(f"{name}: {activations / TOKENS:.0f} bytes a token, {planned / TOKENS:.0f} planned")
    assert planned == pytest.approx(activations, rel=0.1)
    assert copies == pytest.approx(weight_copies(shape, checkpointed=False), rel=0.01)


def test_checkpointing_keeps_the_inputs_of_layers():
    kind, config, shape = LAYERS["Qwen3-0.6B, the small scale's student"]
    one, three = (saved_bytes(kind, config, layers, checkpointed=True)[0] for layers in (1, 3))
    planned = saved_for_backward(shape, TOKENS, LENGTH, checkpointed=True) - saved_by_layer(shape, TOKENS, LENGTH)
    assert (three - one) / 2 == pytest.approx(planned, rel=0.05)


def test_a_forward_pass_without_gradients_holds_no_more_than_is_planned():
    """The largest sum of live tensors of one layer, of weights in bfloat16."""
    kind, config, shape = LAYERS["Qwen3-1.7B"]
    config.num_hidden_layers, config.layer_types, config._attn_implementation = 2, ["full_attention"] * 2, "sdpa"
    model = zeros(kind, config, torch.bfloat16).eval()
    ids = torch.randint(0, 64, (BATCH, LENGTH))
    mask = torch.ones_like(ids)
    mask[0, -5:] = 0
    with torch.no_grad(), torch.profiler.profile(profile_memory=True) as profile:
        model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    held = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    planned = held_by_forward(shape, TOKENS, LENGTH)
    print(f"{peak / TOKENS:.0f} bytes a token at the peak, {planned / TOKENS:.0f} planned")
    assert 0.5 * planned < peak < planned


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_add_up_to_the_published_parameters(name):
    shape = PUBLISHED[name]
    embeddings = shape.hidden * shape.vocabulary
    tied = shape.layers * shape.layer_parameters + embeddings
    assert any(math.isclose(shape.parameters * 1e9, count, rel_tol=0.01) for count in (tied, tied + embeddings))
