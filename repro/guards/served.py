"""The guard that has a served model rewrite each completion. The rewrite is shown only if its answer is the same."""

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic

from repro.errors import InputError
from repro.guards.base import TextGuard
from repro.guards.rewriting_prompt import PROMPT_HASH, Style, read_rewritten, rewriting_prompt
from repro.models.endpoint import REWRITER, Endpoint, is_endpoint, parse_endpoint, without_addresses
from repro.tasks.thoughts import split_tags, visible_text

if TYPE_CHECKING:
    from repro.evaluation.chat_client import ChatClient
    from repro.tasks.task import Item

Outcome = Literal["shown", "other answer", "cut", "unreadable"]
"""Outcome of a reply: shown; or the original is shown because the reply has another final answer, was cut by the token
limit, or has no text between the tags."""


class ServedRewriter(TextGuard):
    """Have a served model rewrite each completion; if that would change its final answer, show the completion as is.

    The final answer is read by the kit's grading rules. Completions that state none, on tasks that have one, are shown
    as they are. Rewritten reasoning is plain text, without thought tags.
    """

    name: ClassVar[str] = "rewrite"
    formula: ClassVar[str] = (
        "y -> a served model's rewriting of y (restructure, paraphrase, summarise), answer unchanged"
    )
    source: ClassVar[str] = "trace rewriting arXiv 2602.15143; PART arXiv 2510.11545; summaries arXiv 2603.07267"

    model: str
    """http://HOST:PORT/v1#MODEL: an OpenAI-compatible server's address up to /v1, and its name for the model."""
    style: Style = "restructure"
    reply_tokens: int = pydantic.Field(default=4096, gt=0)
    """Most tokens of a reply, in the served model's tokens. If a reply is cut, the completion is shown as it was."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _names_a_served_model(cls, settings: Any) -> Any:
        name = settings.get("model") if isinstance(settings, dict) else None
        if not name:
            raise InputError(f"guard 'rewrite': no rewriter model is set. Example: {REWRITER.example}")
        if isinstance(name, str):
            if not is_endpoint(name):
                shown = name if "@" not in name and "?" not in name else "model"  # these may hold a secret
                raise InputError(f"guard 'rewrite': {shown} is not a server address. Example: {REWRITER.example}")
            parse_endpoint(name, REWRITER)
        return settings

    @property
    def endpoint(self) -> Endpoint:
        """The served model."""
        return parse_endpoint(self.model, REWRITER)

    def identity(self) -> dict[str, Any]:
        """Return the model's name without its address, the style, and the hash of what is asked."""
        return super().identity() | {"model": self.endpoint.model, "prompt": PROMPT_HASH}

    @property
    def label(self) -> str:
        """The name and the settings, without the model's address."""
        return without_addresses(super().label)

    def open_client(self) -> "ChatClient":
        """Return a client of the served model, greedy."""
        from repro.evaluation.chat_client import ChatClient  # imports openai: half a second of CPU time

        return ChatClient(self.endpoint, max_tokens=self.reply_tokens, temperature=0.0, seed=0)

    def question(self, text: str, item: "Item", *, opens_in_thought: bool = False) -> str | None:
        """Return the prompt for the served model; None to show the text as it is: nothing is visible, or no answer."""
        from repro.distillation.traces import final_answer  # imports Parquet, which a plan of guards does not need
        from repro.tasks.registry import kind_of

        if not visible_text(text, opens_in_thought=opens_in_thought).strip():
            return None
        answer = None
        if kind_of(item.task) != "open":
            answer = final_answer(text, opens_in_thought=opens_in_thought)
            if answer is None:
                return None
        return rewriting_prompt(self.style, item.prompt, split_tags(text)[0].strip(), answer)

    def read(
        self, reply: str | None, text: str, item: "Item", *, opens_in_thought: bool = False
    ) -> tuple[str, Outcome]:
        """Return what is shown of a completion, and why.

        Args:
            reply: the model's reply; None if the token limit cut it.
            text: the completion, shown if the reply cannot be.
        """
        if reply is None:
            return text, "cut"
        rewritten = read_rewritten(reply)
        if not rewritten or split_tags(rewritten)[0] != rewritten:
            return text, "unreadable"
        if opens_in_thought:  # the prompt opens a thought, which would swallow the whole text
            rewritten = f"{split_tags(text)[1]}\n\n{rewritten}"
        before, after = (_answer(shown, item, opens_in_thought) for shown in (text, rewritten))
        return (rewritten, "shown") if before == after else (text, "other answer")

    def rewrite(self, text: str, item: "Item", *, opens_in_thought: bool = False) -> str:
        """Ask for one completion; `served_rewriting.rewrite_by_model` asks for many at the same time.

        Raises:
            InputError: the server does not answer, or refuses.
        """
        question = self.question(text, item, opens_in_thought=opens_in_thought)
        if question is None:
            return text
        with closing(self.open_client()) as client:
            reply = seeded_reply(client, 0, question)
        return self.read(reply, text, item, opens_in_thought=opens_in_thought)[0]


def seeded_reply(client: "ChatClient", seed: int, question: str) -> str | None:
    """Return the reply to a question, with a seed of its own; None if the token limit cut it."""
    digest = hashlib.sha256(f"{seed} {question}".encode()).digest()
    reply = client.complete(question, seed=int.from_bytes(digest[:4]) >> 1)
    return None if reply.is_cut else reply.text


def _answer(text: str, item: "Item", opens_in_thought: bool) -> str | None:
    from repro.tasks.grading import grade
    from repro.tasks.registry import kind_of

    return grade(kind_of(item.task), text, None, item.prompt, opens_in_thought=opens_in_thought).answer
