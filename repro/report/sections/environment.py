"""Origin of each result, and the command that makes it again."""

from repro.report.blocks import Block, Code, Collapsible, Section, Text, text_grid
from repro.report.merge import Part
from repro.report.rerun import rerun_command
from repro.report.result import Result


def environment_section(part: Part, key: str) -> Section:
    """Show machine, commit and library versions of each result, and how to run it again."""
    results = {source.name: source.content for source in part.sources}
    made = text_grid(
        "Results on this page",
        [
            {
                "result": name,
                "seeds": ", ".join(map(str, result["seeds"])),
                "made": result["made"],
                "code": _describe_code(result),
                "machine": _describe_machine(result),
            }
            for name, result in results.items()
        ],
    )
    blocks: list[Block] = []
    if len({result["code"]["commit"] for result in results.values()}) > 1:
        blocks.append(Text("The results were made by different commits of the code.", strong=True))
    rerun: list[Block] = [Text("Rerun:"), *map(Code, dict.fromkeys(map(rerun_command, results.values())))]
    if any(result["settings"].get("rows") for result in results.values()):
        rerun.append(Text("Rows of a plug-in: add --plugin with its file, unless an installed package has it."))
    if any(result.get("own_claims") for result in results.values()):
        rerun.append(Text("Claims of your own: add --claims with their file."))
    libraries = sorted({library for result in results.values() for library in result["libraries"]})
    versions = [
        {"library": library, **{name: result["libraries"].get(library, "") for name, result in results.items()}}
        for library in libraries
    ]
    folded = Collapsible("Library versions", [text_grid("Library versions", versions)], f"{key}-libraries")
    return Section(f"{key}-environment", "Environment and rerun", [*blocks, made, *rerun, folded], brief=[made, *rerun])


def _describe_code(result: Result) -> str:
    commit = result["code"]["commit"]
    if not commit:
        return "not a checkout"
    return f"{commit[:12]}{' with uncommitted changes' if result['code']['dirty'] else ''}"


def _describe_machine(result: Result) -> str:
    machine = result["hardware"]
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    return f"{machine['system']} {machine['machine']}, {machine['cpus']} cores, {machine['memory_gib']} GiB, {gpus}"
