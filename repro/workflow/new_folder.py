"""A folder filled by a command: new or empty before, complete or gone after."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from repro.errors import InputError
from repro.pipeline.error_advice import disk_error


@contextlib.contextmanager
def new_folder(into: Path) -> Iterator[None]:
    """Let the caller fill the folder; remove it if that fails.

    Raises:
        InputError: the folder has content, or cannot be written to.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"--into {into}: exists already. Name a new folder.")
    try:
        yield
    except BaseException as error:  # interrupts too: the next try would find a non-empty folder
        shutil.rmtree(into, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        # shutil.copytree collects file errors into a list without errno
        raise InputError(
            f"--into {into}: {disk_error(error) or error.strerror or error}. Choose another folder."
        ) from None
