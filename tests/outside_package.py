"""A package outside the project: a module and the metadata of an installed distribution, written into a folder."""

from pathlib import Path

from repro.system import plugins


def install(site: Path, package: str, source: str, entries: dict[str, dict[str, str]], distribution: str = "") -> None:
    """Write a module and its distribution as an installer leaves them.

    Args:
        site: a folder of sys.path.
        entries: group of entry points to {name: "module:Class"}.
        distribution: its name; by default the module's.
    """
    name = distribution or package
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{package}.py").write_text(source)
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in entries.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    plugins._installed.cache_clear()
