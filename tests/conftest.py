import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is imported: no test asks the network

import hypothesis
from tiny_models import items, stranger, student, teacher

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)  # an example may take as long as a busy machine makes it
hypothesis.settings.load_profile("any machine")

__all__ = ["items", "stranger", "student", "teacher"]
