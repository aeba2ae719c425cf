"""Pipeline: run stages in this process, in subprocesses or on Slurm, and record their artifacts."""
