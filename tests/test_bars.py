"""A bar of speed that a device has reached fails when missed; a wish says its name and never passes as if it were a bar."""

import bars
import pytest
from bars import Bar


@pytest.fixture(params=["cpu", "cuda"])
def kind(request, monkeypatch):
    monkeypatch.setattr(bars, "device_kind", lambda: request.param)
    return request.param


@pytest.mark.parametrize(("ratio", "is_reached"), [(1.05, True), (1.2, False)])
def test_a_missed_bar_fails_where_it_is_proved_and_is_a_named_wish_elsewhere(kind, ratio, is_reached, capfd):
    bar = Bar("the loop over its parts", 1.1, proved=("cpu",))
    expected = {("cpu", False): AssertionError, ("cuda", False): pytest.xfail.Exception}.get((kind, is_reached))
    if expected:
        with pytest.raises(expected, match=r"the loop over its parts: 1.20, bar at most 1.1"):
            bar.judge(ratio, capfd)
    else:
        bar.judge(ratio, capfd)


def test_a_lower_bound_is_a_lower_bound(kind, capfd):
    bar = Bar("faster by", 5.0, at_least=True, only=("cuda",))
    bar.judge(6.0, capfd)
    if kind == "cuda":
        with pytest.raises(pytest.xfail.Exception, match="faster by"):
            bar.judge(4.0, capfd)
    else:
        bar.judge(4.0, capfd)  # says that it is no bar on a CPU
