from __future__ import annotations

import json

import pytest

from dynasor.sim.engine_file import EngineFile, EngineFileError, Fit, read_engine
from dynasor.sim.step_time import StepTime

STEP = StepTime(0.01, 1e-4, 1e-5, 1e-8)
FIT = Fit(
    loads=8,
    calls=20,
    most_calls=4,
    prompt_tokens=90,
    completion_tokens=16,
    r_squared=0.9,
    mean_error=0.1,
    call_seconds=0.002,
    unsure=("base",),
)
WHOLE = EngineFile(model="m", step=STEP, kv_tokens=1000, max_running=8, token_budget=512, fit=FIT)


def test_round_trip(tmp_path):
    """What was written is read again, and nothing else is left in the folder."""
    WHOLE.write(tmp_path / "e.json")
    WHOLE.write(tmp_path / "e.json")
    assert read_engine(tmp_path / "e.json") == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["e.json"]


def test_model():
    """The engine has the file's limits and as many whole blocks as its tokens fill."""
    model = WHOLE.engine_model()
    assert (model.step, model.kv_blocks, model.block_tokens) == (STEP, 62, 16)
    assert (model.max_running, model.token_budget, model.call_seconds) == (8, 512, 0.002)
    assert WHOLE.engine_model(kv_tokens=160).kv_blocks == 10


@pytest.mark.parametrize("held", [None, 15])
def test_unknown_cache(held):
    """An engine whose cache is unknown, or less than a block, cannot be modelled."""
    one = EngineFile(model="m", step=STEP, kv_tokens=held, max_running=8)
    with pytest.raises(EngineFileError, match="set kv_tokens in its file to 16 or more"):
        one.engine_model()
    assert one.engine_model(32).kv_blocks == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nothing", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{}", "has no 'dynasor_engine'"),
        ('{"dynasor_engine": 2}', "this build reads 1"),
        ('{"dynasor_engine": 1}', "model"),
        (b"\xff\xfe", "not a JSON object"),
    ],
)
def test_no_engine(tmp_path, text, part):
    """What is no engine of this version is refused by the file's name, with the reason."""
    path = tmp_path / "e.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EngineFileError, match=part) as error:
        read_engine(path)
    assert str(path) in str(error.value)


def test_impossible_step(tmp_path):
    """A step that takes no time is refused by the file's name."""
    path = tmp_path / "e.json"
    WHOLE.write(path)
    data = json.loads(path.read_text())
    data["step"]["base"] = 0
    path.write_text(json.dumps(data))
    with pytest.raises(EngineFileError, match=r"e\.json: step time: base is 0\.0"):
        read_engine(path)


def test_missing(tmp_path):
    """A file that is not there, and a folder that is not, are one line each."""
    with pytest.raises(EngineFileError, match="cannot be read: No such file"):
        read_engine(tmp_path / "e.json")
    with pytest.raises(EngineFileError, match="cannot be written: No such file"):
        WHOLE.write(tmp_path / "nowhere" / "e.json")
