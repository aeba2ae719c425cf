"""Reading tables and judging results needs no torch."""

import subprocess
import sys
from pathlib import Path

import repro.tables


def test_no_module_of_tables_imports_torch() -> None:
    names = sorted(path.stem for path in Path(repro.tables.__file__).parent.glob("*.py") if path.stem != "__init__")
    assert len(names) >= 12
    code = "import sys\n" + "".join(f"import repro.tables.{name}\n" for name in names)
    code += (
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'trl', 'datasets', 'exca'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
