"""A judge behind an endpoint: concurrent requests, each question answered once even if the stage is killed and resumed."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from repro.evaluation.chat_client import ChatClient
from repro.evaluation.config import ANSWER_TOKENS
from repro.evaluation.judge import TEMPERATURE, Ask
from repro.models.endpoint import Endpoint
from repro.progress import Progress
from repro.system.atomic_write import atomic_write

CONCURRENT_REQUESTS = 8
REPLIES = "replies.jsonl"


def ask_endpoint(endpoint: Endpoint, seed: int, *, work: Path, progress: Progress) -> Ask:
    """Return a function that asks the server, equal questions once; replies are stored in `work` as they arrive."""

    def ask(questions: list[str]) -> list[str]:
        stored = work / REPLIES
        replies = _read_replies(stored)
        unanswered = {_name(question): question for question in questions if _name(question) not in replies}
        total = len(unanswered) + len(replies)
        client = ChatClient(endpoint, max_tokens=ANSWER_TOKENS, temperature=TEMPERATURE, seed=seed)
        pool = ThreadPoolExecutor(CONCURRENT_REQUESTS)
        try:
            with stored.open("a") as stream:
                names = {pool.submit(client.reply, question): name for name, question in unanswered.items()}
                for future in as_completed(names):
                    name = names[future]
                    replies[name] = future.result()
                    stream.write(json.dumps([name, replies[name]]) + "\n")
                    stream.flush()
                    progress(len(replies), total, "replies")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
        return [replies[_name(question)] for question in questions]

    return ask


def _name(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def _read_replies(stored: Path) -> dict[str, str]:
    """Read the replies of an earlier run, and drop a truncated last line from the file."""
    replies: dict[str, str] = {}
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
