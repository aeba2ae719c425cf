"""Checks of the models of a study: weights, servers, chat templates, pairs of tokenizers."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from repro.doctor.finding import Finding, fail, good, warn
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, has_same_template, prompt_token_ids
from repro.models.loading import generation_eos_ids, load_tokenizer, locate
from repro.models.strict_check import check_model
from repro.pipeline.preflight import chat_models, check_prompts
from repro.planner.disk import model_gib
from repro.planner.words import describe_gib
from repro.stages import Stage
from repro.system.hub_access import is_offline
from repro.system.hub_lock import UNPINNED

PROBE = "What is 12 + 30?\nAnswer within \\boxed{}: naïve, 数, \N{SLIGHTLY SMILING FACE}."


def check_weights(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Check that the files of every published or local model exist and match their hashes."""
    models = {model.name: model for stage in stages for model in stage.base_models()}
    for name, model in models.items():
        subject = f"weights of {name}"
        location = locate(name)
        if isinstance(location, Path):
            size = sum(file.stat().st_size for file in location.glob("*.safetensors")) / 2**20
            yield good(subject, f"{model.revision[:19]}, {size:,.1f} MiB")
        else:
            yield _check_cached(subject, location, model.revision)


def check_servers(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Check that every server answers and serves its model."""
    endpoints = {model.endpoint for stage in stages for model in stage.served_models()}
    if endpoints:
        from repro.evaluation.chat_client import ChatClient  # the client library takes half a second to import
    for endpoint in sorted(endpoints, key=str):
        subject = f"served model {endpoint.model}"
        try:
            served = ChatClient(endpoint, max_tokens=1, temperature=0.0, seed=0).list_models()
        except InputError as error:
            yield fail(subject, str(error))
            continue
        if endpoint.model in served:
            yield good(subject, f"at {endpoint.url}; servers do not report a model's revision")
        else:
            yield fail(subject, f"{endpoint.url} does not serve it. It serves: {', '.join(served[:20]) or 'nothing'}")


def _check_cached(subject: str, hub_id: str, revision: str) -> Finding:
    """Check a hub model in the local cache, where files are named by their hashes."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    pinned = None if revision == UNPINNED else revision
    try:
        folder = Path(snapshot_download(hub_id, revision=pinned, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):
        if is_offline():
            return fail(
                subject, "not on this machine, and HF_HUB_OFFLINE is set: download it first (hf download), or go online"
            )
        size = describe_gib(model_gib(hub_id))
        return warn(subject, f"not on this machine yet: they will be downloaded (about {size}) when first loaded")
    weights = [file for file in folder.iterdir() if file.suffix == ".safetensors"]
    if not weights:
        return fail(subject, f"{folder} holds no *.safetensors: delete it and download again (pickles are not read)")
    for file in weights:
        blob = file.resolve()  # the cache names a large file by its sha256
        if len(blob.name) == 64 and _sha256(blob) != blob.name:
            return fail(
                subject, f"{file.name} is damaged (its hash differs from its name): delete {blob} and download again"
            )
    if pinned is None:
        return warn(subject, f"{len(weights)} files, hashes match; the revision is unpinned: run `repro pin`")
    return good(subject, f"{revision[:12]}, {len(weights)} files, hashes match")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_models(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Run the strict check on every model that reads prompts, and check that prompts survive a tokenizer round trip."""
    for model, reasoning in chat_models(stages).items():
        name, subject = model.name, f"template of {model.name}"
        try:
            check_model(name, reasoning=reasoning)
            tokenizer = load_tokenizer(locate(name))
            ids = prompt_token_ids(tokenizer, PROBE, reasoning)
            other_ids = prompt_token_ids(tokenizer, PROBE, not reasoning)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            end = end_of_turn_id(tokenizer, generation_eos_ids(locate(name)))
        except InputError as error:
            yield fail(subject, str(error))
            continue
        except OSError as error:
            yield fail(subject, f"cannot load a tokenizer: {str(error).strip().splitlines()[0]}")
            continue
        if PROBE not in text and _single_spaced(PROBE) not in _single_spaced(text):
            yield warn(subject, "a prompt with accents, Chinese and an emoji changes when it is tokenized and decoded")
        elif not reasoning and ids == other_ids:
            yield warn(
                subject,
                "reasoning=false, but the chat template ignores enable_thinking, so the model decides whether to think",
            )
        else:
            thinking = "" if ids == other_ids else f", reasoning={reasoning}"
            yield good(
                subject, f"round trip of {len(ids)} tokens, turn ends with {tokenizer.decode([end])!r}{thinking}"
            )


def check_lengths(stages: Sequence[Stage]) -> Finding:
    """Check that every prompt plus the longest allowed completion fits the positions of each model that reads it."""
    try:
        check_prompts(stages)
    except InputError as error:
        return fail("prompts", str(error))
    return good("prompts", "the longest prompt plus the longest allowed completion fits each model's positions")


def _single_spaced(text: str) -> str:
    return " ".join(text.split()).strip()


def check_pairs(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Check that teacher and student share a tokenizer and use equal chat templates."""
    from repro.distillation.pair import check_pair

    pairs = {
        (pair.teacher.name, pair.student.name): stage.prompted_models()[pair.student.name]
        for stage in stages
        if (pair := stage.model_pair) and pair.purpose == "distillation"
    }
    for (teacher, student), reasoning in pairs.items():
        subject = f"pair {teacher}, {student}"
        try:
            sizes = check_pair(locate(teacher), locate(student))
            tokenizers = [load_tokenizer(locate(name)) for name in (teacher, student)]
            has_one_template = has_same_template(tokenizers[0], tokenizers[1], reasoning)
        except InputError as error:
            yield fail(subject, str(error))
            continue
        except OSError as error:
            yield fail(subject, f"cannot load configuration or tokenizer: {str(error).strip().splitlines()[0]}")
            continue
        if not has_one_template:
            yield warn(
                subject,
                "their chat templates differ: in distillation the teacher reads prompts in the student's template. To calibrate"
                " with the student's template too, use --set calibration_template=student",
            )
        else:
            yield good(subject, f"same tokenizer and chat template, {sizes.compared:,} ids compared")
