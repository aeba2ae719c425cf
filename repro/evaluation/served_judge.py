"""A judge that a server runs: some questions at a time, each answered once however often the stage is killed."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from repro.evaluation.chat_client import ChatClient
from repro.evaluation.judge import ANSWER_TOKENS, TEMPERATURE, Ask
from repro.models.endpoint import Endpoint
from repro.progress import Progress
from repro.system.atomic_write import atomic_write

AT_ONCE = 8
"""Requests that wait for a reply at the same time."""
REPLIES = "replies.jsonl"


def ask_endpoint(where: Endpoint, seed: int, *, work: Path, progress: Progress) -> Ask:
    """Asks the server. Replies are kept in `work` as they come; questions that are alike are asked once."""

    def ask(questions: list[str]) -> list[str]:
        kept = work / REPLIES
        replies = _read(kept)
        open_ = {_name(question): question for question in questions if _name(question) not in replies}
        total = len(open_) + len(replies)
        stop = threading.Event()
        server = ChatClient(
            where,
            max_tokens=ANSWER_TOKENS,
            temperature=TEMPERATURE,
            seed=seed,
            sleep=lambda seconds: _wait(stop, seconds),
        )
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            with kept.open("a") as stream:
                asked = {pool.submit(server.reply, question): name for name, question in open_.items()}
                for done in as_completed(asked):
                    replies[asked[done]] = done.result()
                    stream.write(json.dumps([asked[done], replies[asked[done]]]) + "\n")
                    stream.flush()
                    progress(len(replies), total, "replies")
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return [replies[_name(question)] for question in questions]

    return ask


class _StoppedError(Exception):
    """Another request has failed for good."""


def _wait(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise _StoppedError


def _name(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def _read(kept: Path) -> dict[str, str]:
    """Replies of a run that was stopped; what a kill left of the last line is put away."""
    found: dict[str, str] = {}
    if not kept.exists():
        return found
    for line in kept.read_bytes().splitlines():
        try:
            name, reply = json.loads(line)
        except ValueError:
            continue
        found[name] = reply
    with atomic_write(kept) as aside:
        aside.write_text("".join(json.dumps(list(pair)) + "\n" for pair in found.items()))
    return found
