"""Two tokenizers that split the same text differently, like those of Qwen3 and Gemma 3.

`qwen3`: ByteLevel BPE, one token per word including its space, ChatML, no BOS. `gemma3`: SentencePiece-like BPE (spaces
become ▁), at most three letters per token, BOS, <start_of_turn>/<end_of_turn>. States, operations and options are one
token in both. In both, a pre-tokenizer boundary follows the generation prompt, so the tokens of prompt + completion are
the prompt's tokens followed by the completion's.
"""

import itertools

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from repro.toy.corpus import EVERY_TASK, Corpus, stream_pairs
from repro.toy.models import Family
from repro.toy.questions import Habits
from repro.toy.world import ATTRIBUTES, OPENERS, World

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# An option is one token in both families: letter and state are looked up together.
_WORDS = r"\n| ?Answer:| ?\\boxed\{| ?[A-Z]\d| ?\p{L}+| ?\d| ?[^\s\p{L}\d]+| "
_CHUNKS = r"\n|▁?[A-Z]\d|▁?\p{L}{1,3}|▁?\d|▁?[^\s\p{L}\d▁]|▁"
_LINES = 4000


def _corpus() -> list[str]:
    corpus = Corpus(Habits(leaps=0.5, fitting=0.0, rechecks=0.2), EVERY_TASK)
    pairs = itertools.islice(stream_pairs(World(0), corpus, seed=0), _LINES)
    texts = [f"{role}\n{text}" for pair in pairs for role, text in zip(("user", "assistant"), pair)]
    words = [" ".join(["", *attribute]) for attribute in ATTRIBUTES.values()]
    return [*texts, *OPENERS, *words, *["model\n"] * 9]


def _qwen3() -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=2000,  # larger than the number of words, so that each word of the world becomes one token
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )


def _gemma3() -> PreTrainedTokenizerFast:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    core = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Split(Regex(_CHUNKS), "isolated")
    core.decoder = decoders.Replace("▁", " ")
    core.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=special,
            initial_alphabet=["▁", "\n", *map(chr, range(33, 127))],
            show_progress=False,
        ),
    )
    bos = core.token_to_id("<bos>")
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=TURNS,
    )


def train_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """Train the family's tokenizer on the corpus; the result is always the same."""
    tokenizer = _qwen3() if family == "qwen3" else _gemma3()
    tokenizer.padding_side = "left"
    return tokenizer
