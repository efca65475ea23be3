"""How a command refuses what it cannot use."""

from __future__ import annotations

__all__ = ["refused"]


def refused(result, *parts):
    """The command must have failed with one line that says these things."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("dynasor: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err
