"""torchrun, with an exit code that tells which signal ended the first process to fail; torchrun itself returns 1."""

import sys

SIGNALLED = 128
"""Added to a signal's number in exit codes, as shells do."""


def main() -> None:
    """Run torchrun with this process's arguments."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main()
    except ChildFailedError as error:
        print(error, file=sys.stderr, flush=True)
        _, failure = error.get_first_failure()
        sys.exit(SIGNALLED - failure.exitcode if failure.exitcode < 0 else 1)


if __name__ == "__main__":
    main()
