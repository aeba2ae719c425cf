"""A judge behind an endpoint."""

from contextlib import closing
from pathlib import Path

from repro.evaluation.chat_client import ChatClient
from repro.evaluation.config import ANSWER_TOKENS
from repro.evaluation.judge import TEMPERATURE, Ask
from repro.evaluation.stored_replies import ask_once
from repro.models.endpoint import Endpoint
from repro.progress import Progress

REPLIES = "replies.jsonl"


def ask_endpoint(endpoint: Endpoint, seed: int, *, work: Path, progress: Progress) -> Ask:
    """Return a function that asks the server each distinct question once; replies are stored in `work` on arrival."""

    def ask(questions: list[str]) -> list[str]:
        with closing(ChatClient(endpoint, max_tokens=ANSWER_TOKENS, temperature=TEMPERATURE, seed=seed)) as client:
            replies = ask_once(
                client.reply, questions, work / REPLIES, lambda done, total: progress(done, total, "replies")
            )
        return [replies[question] for question in questions]

    return ask
