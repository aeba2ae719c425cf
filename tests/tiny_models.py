"""Random models of two architectures with two different tokenizers, made in a second."""

import functools
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from repro.tasks import Item

torch.set_num_threads(1)  # tiny matrices: a second thread only waits

SUMS = [(a, b) for a in range(9) for b in range(9)]
CORPUS = [f"user\n{a} + {b} = ?\nassistant model\n{a} + {b} = {a + b}\nAnswer: {a + b}" for a, b in SUMS]
PUBLISHED_SAMPLING = {
    "do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05
}  # fmt: skip
"""In generation_config.json, as of Qwen's models: nothing that is sampled here may follow it."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}"
    "<start_of_turn>{{ {'assistant': 'model'}.get(m['role'], m['role']) }}\n"
    "{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def qwen_tokenizer(vocabulary: int = 300) -> PreTrainedTokenizerFast:
    """Byte-level BPE, ChatML, no BOS; turns and documents end alike."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_qwen(vocabulary)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
    )


@functools.cache
def _trained_qwen(vocabulary: int) -> str:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return str(core.to_str())


def gemma_tokenizer() -> PreTrainedTokenizerFast:
    """Small pieces; BOS from the template and again from the tokenizer; turns end with no EOS."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_gemma()),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=TURNS,
    )


@functools.cache
def _trained_gemma() -> str:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    core.decoder = decoders.Replace("▁", " ")
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=150,
            special_tokens=special,
            initial_alphabet=["▁", "\n", *map(chr, range(33, 127))],
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return str(core.to_str())


def save_qwen(
    folder: Path,
    *,
    layers: int = 2,
    hidden: int = 32,
    seed: int = 0,
    vocabulary: int | None = None,
    end_scale: float = 3.0,
) -> Path:
    """A Qwen3 model with its tokenizer.

    Args:
        vocabulary: rows of the output layer where it is padded.
        end_scale: of the end token's logit: at 3 some completions end by themselves, at 1 hardly any.
    """
    tokenizer = qwen_tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=hidden // 2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,  # far from uniform, so that a wrong position or a wrong mask shows
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.eos_token_id] *= end_scale
    return _save(model, tokenizer, folder, [tokenizer.eos_token_id])


def save_gemma(folder: Path, *, seed: int = 0) -> Path:
    """A Gemma 3 model with its tokenizer; both <eos> and <end_of_turn> end a completion."""
    tokenizer = gemma_tokenizer()
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,  # shorter than a completion
        max_position_embeddings=256,
        final_logit_softcapping=5.0,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    return _save(Gemma3ForCausalLM(config), tokenizer, folder, [1, tokenizer.convert_tokens_to_ids("<end_of_turn>")])


def save_multimodal_gemma(folder: Path, *, seed: int = 0, vocabulary: int | None = None) -> Path:
    """A Gemma 3 checkpoint as published from 4B up: language model and vision tower, the vocabulary padded for images."""
    tokenizer = gemma_tokenizer()
    torch.manual_seed(seed)
    text = {
        "vocab_size": vocabulary or len(tokenizer) + 4,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": 8,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=tower,
        mm_tokens_per_image=1,
        boi_token_index=len(tokenizer),
        eoi_token_index=len(tokenizer) + 1,
        image_token_index=len(tokenizer) + 2,
    )
    model = Gemma3ForConditionalGeneration(config)
    return _save(model, tokenizer, folder, [1, tokenizer.convert_tokens_to_ids("<end_of_turn>")])


def save_llama(folder: Path, *, seed: int = 0) -> Path:
    """A Llama model (3.1 and 3.2: untied or tied output layer, three-fold rotary scaling) with the byte-level tokenizer."""
    tokenizer = qwen_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    return _save(LlamaForCausalLM(config), tokenizer, folder, [tokenizer.eos_token_id])


def _save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path, ends: list[int]) -> Path:
    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, **PUBLISHED_SAMPLING
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@functools.cache
def in_float64(folder: Path) -> torch.nn.Module:
    """The model in float64, read once: whoever takes gradients forgets earlier ones."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def naive(folder: Path, prompt: list[int], completion: list[int]) -> float:
    """log p(completion | prompt): one sequence, no padding, float64, one token at a time."""
    model = in_float64(folder)
    total, ids = 0.0, list(prompt)
    for token in completion:
        with torch.no_grad():
            logits_V = model(torch.tensor([ids])).logits[0, -1]
        total += logits_V.log_softmax(-1)[token].item()
        ids.append(token)
    return total


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("models") / "teacher", layers=2, seed=1)


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("models") / "student", layers=1, seed=2)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another family: another architecture, another tokenizer."""
    return save_gemma(tmp_path_factory.mktemp("models") / "stranger")


@pytest.fixture(scope="session")
def items() -> list[Item]:
    return [Item(f"sum/{a}-{b}", "sum", f"{a} + {b} = ?", str(a + b)) for a in range(4) for b in range(4)]
