"""Pictures of runs."""

from __future__ import annotations

import builtins
from math import inf

import pytest
from toys.simulated import simulated

from dynasor.core.errors import ConfigError, DynasorError, UserError
from dynasor.online.plots import draw, figure, save

COURSE = [(0, 0, 0, 0.0, 0), (5, 3, 2, 0.5, 100), (10, 1, 0, 0.25, 300)]
RUN = simulated([1, 2, 3, inf], deadline=2.5, course=COURSE)


def test_systems_in_one_picture(tmp_path):
    """Every run has its name in the legend; the axes say what they show."""
    draw({"fcfs": RUN, "gang": RUN}, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for word in ("fcfs", "gang", "attainment", "seconds from arrival", "KV blocks in use, %"):
        assert f">{word}</text>" in text


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_picture_drawn_again_is_the_same_file(tmp_path, suffix):
    """The same run gives the same bytes."""
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw({"gang": RUN}, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "sim",
    [
        simulated([], course=[]),
        simulated([1.0], course=[]),
        simulated([inf, inf], deadline=5.0),
        simulated([1.0] * 100, deadline=[5.0] * 50 + [inf] * 50),
    ],
)
def test_runs_with_little_to_show(tmp_path, sim):
    """A run without programs, ends, samples or deadlines still has its picture."""
    draw({"gang": sim}, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_no_other_figure_changes():
    """The look is these figures' own."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure()
    assert dict(mpl.rcParams) == before


def test_no_matplotlib(monkeypatch, tmp_path):
    """Without matplotlib one line says what to install."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install 'dynasor-serve"):
        draw({"gang": RUN}, tmp_path / "a.svg")


@pytest.mark.parametrize("name", ["a", "a.txt", "a.json"])
def test_no_format(tmp_path, name):
    """A file whose suffix names no format of pictures is refused."""
    with pytest.raises(UserError, match=r"end it in \.svg"):
        save(figure()[0], tmp_path / name)


def test_no_folder(tmp_path):
    """A folder that is not there is one line."""
    with pytest.raises(DynasorError, match="cannot be written: No such file"):
        draw({"gang": RUN}, tmp_path / "no" / "a.svg")
