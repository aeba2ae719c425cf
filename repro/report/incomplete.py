"""What an incomplete result says about itself: the rows without numbers, and why."""

from collections.abc import Sequence

from repro.report.result import MissingRow


def describe_missing(missing: Sequence[MissingRow]) -> list[str]:
    """Return a line per failure with the rows it left without numbers; empty for a complete result."""
    families = {row["family"] for row in missing}
    rows_of: dict[str, dict[str, None]] = {}
    for row in missing:
        name = f"{row['method']} ({row['family']})" if len(families) > 1 else row["method"]
        rows_of.setdefault(row["reason"], {})[name] = None
    return [
        f"incomplete: no numbers for {', '.join(rows)}, and no verdict on claims about {'it' if len(rows) == 1 else 'them'}:"
        f" {reason}"
        for reason, rows in rows_of.items()
    ]
