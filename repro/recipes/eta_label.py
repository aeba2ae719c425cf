"""Row labels that say where the knob stands: "SFT, eta -0.5"."""

_MARK = ", eta "


def at(name: str, eta: float) -> str:
    """The label of a row at one eta."""
    return f"{name}{_MARK}{eta + 0.0:+g}"


def split(label: str) -> tuple[str, float] | None:
    """Name and eta of a label that `at` made; None for any other."""
    name, mark, eta = label.partition(_MARK)
    return (name, float(eta)) if mark else None


def curve(labels: "list[str] | tuple[str, ...]", name: str) -> list[tuple[float, str]]:
    """(eta, label) of every row of that name, eta rising."""
    points = [(found[1], label) for label in labels if (found := split(label)) is not None and found[0] == name]
    return sorted(points)
