import subprocess
import sys


def test_recipes_can_read_the_configurations_without_torch() -> None:
    code = (
        "import sys, repro.calibration, repro.calibration.config, repro.calibration.advantages;"
        "import repro.distillation, repro.distillation.config;"
        "sys.exit(bool({'torch', 'trl', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
