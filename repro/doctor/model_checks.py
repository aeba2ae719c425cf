"""Weights, tokenizers and chat templates of a study: there, whole, and going round."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from repro.doctor.finding import Finding, fail, good, warn
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, prompt_token_ids
from repro.models.endpoint import Endpoint
from repro.models.loading import generation_eos_ids, load_tokenizer, locate
from repro.planner.disk import download_gib
from repro.stages import BaseModelRef, Stage

PROBE = "What is 12 + 30?\nAnswer within \\boxed{}: naïve, 数, \N{SLIGHTLY SMILING FACE}."


def check_weights(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Every model from outside: its files are there, and are what their hashes say."""
    models: dict[str, tuple[BaseModelRef, Stage]] = {}
    for stage in stages:
        for model in stage.base_models():
            models.setdefault(model.name, (model, stage))
    for name, (model, stage) in models.items():
        about = f"weights of {name}"
        where = locate(name)
        if isinstance(where, Path):
            size = sum(file.stat().st_size for file in where.glob("*.safetensors")) / 2**20
            yield good(about, f"{model.revision[:19]}, {size:,.1f} MiB")
        else:
            yield _cached(about, where, model.revision, stage)


def check_servers(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Every model that a server runs: the server answers, and says that it serves it."""
    asked = {Endpoint(model.url, model.name) for stage in stages for model in stage.served_models()}
    if asked:
        from repro.evaluation.chat_client import ChatClient  # the client library takes half a second to import
    for where in sorted(asked, key=str):
        about = f"served model {where.model}"
        try:
            known = ChatClient(where, max_tokens=1, temperature=0.0, seed=0).list_models()
        except InputError as error:
            yield fail(about, str(error))
            continue
        if where.model in known:
            yield good(about, f"at {where.url}; which revision it is, no server tells")
        else:
            yield fail(about, f"{where.url} does not serve it. It serves: {', '.join(known[:20]) or 'nothing'}")


def _cached(about: str, hub_id: str, revision: str, stage: Stage) -> Finding:
    """A hub model: the local cache's files, each named by its own hash."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    pinned = None if revision == "unpinned" else revision
    try:
        folder = Path(snapshot_download(hub_id, revision=pinned, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):
        size = download_gib([stage])
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            return fail(
                about, "not on this machine, and HF_HUB_OFFLINE=1: download it first (hf download), or go online"
            )
        return warn(
            about, f"not on this machine yet: the first stage downloads it (about {size:.0f} GiB for its models)"
        )
    weights = [file for file in folder.iterdir() if file.suffix == ".safetensors"]
    if not weights:
        return fail(about, f"{folder} holds no *.safetensors: delete it and download again (pickles are not read)")
    for file in weights:
        blob = file.resolve()  # the cache names a large file by its sha256
        if len(blob.name) == 64 and _sha256(blob) != blob.name:
            return fail(about, f"{file.name} is damaged (its hash is not its name): delete {blob} and download again")
    if pinned is None:
        return warn(about, f"{len(weights)} files, hashes right; the revision is unpinned: run `repro pin`")
    return good(about, f"{revision[:12]}, {len(weights)} files, hashes right")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_templates(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Prompts go through each model's chat template and come back; the turn ends with a token that stops generation."""
    prompted = {name: reasoning for stage in stages for name, reasoning in stage.prompted_models().items()}
    for name, reasoning in prompted.items():
        about = f"template of {name}"
        try:
            tokenizer = load_tokenizer(locate(name))
            ids = prompt_token_ids(tokenizer, PROBE, reasoning)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            end = end_of_turn_id(tokenizer, generation_eos_ids(locate(name)))
        except InputError as error:
            yield fail(about, str(error))
            continue
        except OSError as error:
            yield fail(about, f"no tokenizer to be had: {str(error).strip().splitlines()[0]}")
            continue
        if PROBE not in text and _plain(PROBE) not in _plain(text):
            yield warn(
                about, "a prompt with accents, Chinese and an emoji does not come back from its tokens as it was"
            )
        elif not reasoning and ids == prompt_token_ids(tokenizer, PROBE, True):
            yield warn(about, "reasoning=false, but the template has no enable_thinking: the model thinks as it likes")
        else:
            thinking = "" if ids == prompt_token_ids(tokenizer, PROBE, not reasoning) else f", reasoning={reasoning}"
            yield good(about, f"round trip of {len(ids)} tokens, turn ends with {tokenizer.decode([end])!r}{thinking}")


def _plain(text: str) -> str:
    return " ".join(text.split()).strip()


def check_pairs(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Teacher and student share a divergence per token; and the teacher reads prompts as it is used to."""
    from repro.distillation.pair import check_pair

    pairs = {
        (pair.teacher.name, pair.student.name): stage.prompted_models()[pair.student.name]
        for stage in stages
        if (pair := stage.model_pair) and pair.purpose == "distillation"
    }
    for (teacher, student), reasoning in pairs.items():
        about = f"pair {teacher}, {student}"
        try:
            sizes = check_pair(locate(teacher), locate(student))
        except InputError as error:
            yield fail(about, str(error))
            continue
        except OSError as error:
            yield fail(about, f"configuration or tokenizer is not to be had: {str(error).strip().splitlines()[0]}")
            continue
        posed = [prompt_token_ids(load_tokenizer(locate(name)), PROBE, reasoning) for name in (teacher, student)]
        if posed[0] != posed[1]:
            yield warn(about, "their chat templates differ: in distillation the teacher reads the student's prompts")
        else:
            yield good(about, f"one tokenizer and template, {sizes.compared:,} ids compared")
