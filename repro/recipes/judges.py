"""The model that names failure modes."""

from repro.models.endpoint import is_endpoint, parse_endpoint
from repro.recipes.settings import Settings
from repro.recipes.shared_stages import base_model
from repro.stages import BaseModelRef, ServedModelRef


def judge_of(settings: Settings) -> BaseModelRef | ServedModelRef | None:
    """Return the model that names failure modes; None for the rules.

    Raises:
        InputError: no such model, or an endpoint without one.
    """
    if not settings.judge:
        return None
    if not is_endpoint(settings.judge):
        return base_model(settings.judge)
    endpoint = parse_endpoint(settings.judge)
    return ServedModelRef(name=endpoint.model, url=endpoint.url)
