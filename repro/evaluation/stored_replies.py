"""Concurrent requests to a served model; each question is answered once even if the stage is killed and resumed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from repro.system.atomic_write import atomic_write

CONCURRENT_REQUESTS = 8

ReplyContent = TypeVar("ReplyContent")
"""JSON content stored for a reply."""


def ask_once(
    reply: Callable[[str], ReplyContent],
    questions: Iterable[str],
    stored: Path,
    progress: Callable[[int, int], None],
) -> dict[str, ReplyContent]:
    """Return the reply to each distinct question; replies are stored as they arrive and not requested again.

    Args:
        reply: asks the server; called from several threads.
        stored: file with one reply per line; may hold replies from an earlier run.
        progress: called with the number of replies so far and in total.
    """
    replies: dict[str, ReplyContent] = _read_replies(stored)
    by_name = {_name(question): question for question in questions}
    unanswered = {name: question for name, question in by_name.items() if name not in replies}
    total = len(unanswered) + len(replies)
    pool = ThreadPoolExecutor(CONCURRENT_REQUESTS)
    try:
        with stored.open("a") as stream:
            names = {pool.submit(reply, question): name for name, question in unanswered.items()}
            for future in as_completed(names):
                name = names[future]
                replies[name] = future.result()
                stream.write(json.dumps([name, replies[name]]) + "\n")
                stream.flush()
                progress(len(replies), total)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {question: replies[name] for name, question in by_name.items()}


def _name(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def _read_replies(stored: Path) -> dict[str, ReplyContent]:
    """Read the replies of an earlier run, and drop a truncated last line from the file."""
    replies: dict[str, ReplyContent] = {}
    if not stored.exists():
        return replies
    for line in stored.read_bytes().splitlines():
        try:
            name, reply = json.loads(line)
        except ValueError:
            continue
        replies[name] = reply
    with atomic_write(stored) as temporary:
        temporary.write_text("".join(json.dumps(list(pair)) + "\n" for pair in replies.items()))
    return replies
