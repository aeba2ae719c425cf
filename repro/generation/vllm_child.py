"""vLLM in a separate process, for `vllm_process`.

Usage: python -m repro.generation.vllm_child PID FD MODEL LENGTH TENSOR_PARALLEL. A request is one JSON message; a reply
is three: JSON, the token ids, and their log-probabilities (`send_completions`).
"""

import itertools
import json
import os
import sys
import traceback
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.system.child_processes import exit_with_parent, kill_children

Message = dict[str, Any]


def send(connection: Connection, message: Message) -> None:
    """Send one JSON message."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Message:
    """Wait for one JSON message. Raises EOFError if the sender has exited."""
    message: Message = json.loads(connection.recv_bytes())
    return message


def send_completions(connection: Connection, groups: Sequence[Sequence[Completion]]) -> None:
    """Send completions losslessly, with 12 bytes per token."""
    flat = [completion for group in groups for completion in group]
    lengths = [len(completion.token_ids) for completion in flat]
    send(connection, {"n": len(groups[0]) if groups else 1, "lengths": lengths, "stops": [c.stop for c in flat]})
    connection.send_bytes(array("i", itertools.chain.from_iterable(c.token_ids for c in flat)).tobytes())
    connection.send_bytes(array("d", itertools.chain.from_iterable(c.log_probs for c in flat)).tobytes())


def receive_completions(connection: Connection, head: Message) -> list[list[Completion]]:
    """Receive the messages of `send_completions` that follow its first, `head`."""
    token_ids, log_probs = array("i"), array("d")
    token_ids.frombytes(connection.recv_bytes())
    log_probs.frombytes(connection.recv_bytes())
    completions, start = [], 0
    for length, stop in zip(head["lengths"], head["stops"], strict=True):
        end = start + length
        completions.append(Completion(token_ids[start:end].tolist(), log_probs[start:end].tolist(), stop))
        start = end
    return [completions[i : i + head["n"]] for i in range(0, len(completions), head["n"])]


def describe(error: BaseException) -> Message:
    """Return an error as a message: its text, and the texts of the errors that it was raised from."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < 10:
        text = str(cause) or ("out of memory" if isinstance(cause, MemoryError) else "no message")
        texts.append(f"{type(cause).__name__}: {text}")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, InputError):
        return {"input_error": str(error)}
    return {"errors": texts}


def serve(connection: Connection, model: str, max_length: int, tensor_parallel: int) -> None:
    """Load the model, then answer requests until one asks to close; on an error, send it as the last message."""
    from repro.generation.vllm_engine import VllmEngine

    try:
        engine = VllmEngine(model, max_length, tensor_parallel)
        send(connection, {"ready": True})
        while (request := receive(connection)) != {"close": True}:
            send_completions(connection, engine.generate(**request))
    except EOFError:  # the stage has exited
        return
    except Exception as error:
        traceback.print_exc()  # for the log
        send(connection, describe(error))
        return
    engine.close()


def main(arguments: Sequence[str]) -> None:
    """Serve the process that started this one, then exit without interpreter shutdown, which could hang."""
    parent, descriptor, model, max_length, tensor_parallel = arguments
    exit_with_parent(int(parent))
    os.set_inheritable(int(descriptor), False)
    try:
        serve(Connection(int(descriptor)), model, int(max_length), int(tensor_parallel))
    except Exception:  # from a closed connection or engine: all requests have been answered
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    kill_children()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
