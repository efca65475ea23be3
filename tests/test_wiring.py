"""Which engines generate and which score."""

import shutil
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
from aiohttp import web
from toys.reward_server import RewardServer, logistic, logit, written

from dynasor import BestOfN, Dynasor
from dynasor.config import Settings, load_settings
from dynasor.core.errors import ConfigError, EngineUnreachable
from dynasor.core.types import Message
from dynasor.datasets import heldout
from dynasor.engines.scripted import ScriptedEngine
from dynasor.wiring import make_engines, make_reward_engines

QUESTION = "What is 6 * 7?"
OUTPUTS = ["It is \\boxed{41}.", "It is \\boxed{42}.", "It is \\boxed{43}."]
URL = "http://rm:8000"


@pytest.fixture
async def server() -> AsyncIterator[RewardServer]:
    server = RewardServer("whole", columns=1, model="RM")
    runner = web.AppRunner(server.app(), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Counted(ScriptedEngine):
    """Counts its starts."""

    starts = 0

    async def start(self):
        self.starts += 1
        return await super().start()


def generating(**options):
    return Counted(lambda work: OUTPUTS[work.sampling.seed % 3], **options)


def slots(dynasor):
    """The slots of each pool."""
    return {
        name: one.slots for name, one in dynasor.machine.driver.scheduler.dispatcher.pools.items()
    }


def rewarding(settings):
    """The addresses that the settings let score, by replica."""
    engines = {f"{n}@{one.address}": one for n, one in enumerate(make_engines(settings))}
    found = make_reward_engines(settings, engines)
    return found, engines


async def test_the_engine_judges():
    """Without a reward engine what generates also scores."""
    engine = generating(reward=lambda item: float("42" in item.prefix))
    async with Dynasor(engine, policy="even", cap=6) as dynasor:
        result = await dynasor.run(BestOfN(QUESTION, cap=6))
        machine = dynasor.machine
        assert list(machine.engines) == list(machine.reward_engines) == ["0@scripted"]
        assert machine.descriptions == machine.reward_descriptions
    assert result.answer == "42"
    assert engine.starts == 1


async def test_a_reward_model_of_its_own(server):
    """A reward engine that is named scores everything, and is kept apart from what generates."""
    engine = generating()
    async with Dynasor(engine, policy="even", cap=9, reward_engine=[server.url]) as dynasor:
        result = await dynasor.run(BestOfN(QUESTION, cap=9))
        machine = dynasor.machine
        assert [one.model for one in machine.descriptions.values()] == ["scripted"]
        assert machine.slots == engine.slots
        assert [one.model for one in machine.reward_descriptions.values()] == ["prm"]
        assert list(machine.reward_engines) == [f"reward-0@{server.url}"]
    shown = {body["messages"][-1]["content"] for body in server.asked[1:]}
    assert len(server.asked) - 1 == len(shown) == 3
    messages = server.asked[1]["messages"][:-1]

    def worth(output):
        return logit(written([*messages, {"role": "assistant", "content": output}]))

    assert result.text == max(OUTPUTS, key=worth)
    assert 0 < logistic(worth(result.text)) < 1


async def test_slots_of_each_role():
    """Generation and scores have windows of their own, on one engine too."""
    engine = generating(reward=lambda item: 0.5, slots=8)
    async with Dynasor(engine, reward_slots=2) as dynasor:
        assert slots(dynasor) == {"generate": 8, "reward": 2}
        assert dynasor.machine.slots == 8


async def test_a_reward_engine_that_is_down(server):
    """A reward engine that cannot be reached fails the start, and everything is closed."""
    engine = generating()
    gone = "http://127.0.0.1:9"
    with pytest.raises(EngineUnreachable, match=gone):
        async with Dynasor(engine, reward_engine=[server.url, gone]):
            pass
    assert engine.is_closed


async def test_a_reward_engine_that_cannot_score():
    """An engine that is named to score and cannot is refused at the start."""
    with pytest.raises(ConfigError, match="reward_engine 'scripted' cannot score"):
        async with Dynasor(generating(), reward_engine=["scripted"]):
            pass


def test_one_engine_in_both_roles():
    """An engine that is named for both roles is one engine, however its address is written."""
    settings = Settings(engine=[URL, "embedded"], reward_engine=[URL + "/v1/", "embedded"])
    found, engines = rewarding(settings)
    assert found == engines


@pytest.mark.parametrize(
    "given",
    [
        {"reward_model": "prm"},
        {"reward_kind": "pooling"},
        {"reward_step": "<m>"},
        {"reward_api_key": "key"},
        {"engine": ["http://other:1"]},
    ],
)
def test_another_engine_at_one_address(given):
    """Another model, or another way to ask, is another engine."""
    settings = Settings(**{"engine": [URL], "reward_engine": [URL], **given})
    found, _ = rewarding(settings)
    assert list(found) == [f"reward-0@{URL}"]


def test_reward_settings():
    """A reward engine is asked as its own settings say."""
    settings = Settings(
        reward_engine=["http://a:1", "http://b:1"],
        reward_model="prm",
        reward_api_key="key",
        reward_slots=3,
        reward_kind="pooling",
        reward_step="<m>",
        engine_seconds=7,
    )
    found, _ = rewarding(settings)
    for engine, url in zip(found.values(), settings.reward_engine, strict=True):
        assert (engine.url, engine.model, engine.api_key) == (url, "prm", "key")
        assert (engine.slots, engine.kind, engine.step, engine.seconds_limit) == (
            3,
            "pooling",
            "<m>",
            7,
        )
        assert "key" not in repr(engine).replace("api_key", "")


def test_reward_engines_as_text():
    """Several reward engines are written with commas where a list cannot be."""
    settings = load_settings(reward_engine="http://a:1, http://b:1")
    assert settings.reward_engine == ["http://a:1", "http://b:1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reward_model": "prm"}, "reward_model is set and reward_engine is not"),
        ({"reward_step": ""}, "reward_step is set"),
        ({"reward_engine": ["localhost"]}, "reward_engine 'localhost' is neither a URL"),
        ({"reward_engine": ["m.gguf"], "reward_kind": "pooling"}, "can only be a judge"),
        ({"reward_engine": ["embedded"], "reward_step": "<m>"}, "reward_step is '<m>'; .* judge"),
        ({"reward_engine": ["embedded"], "reward_step": "judge"}, "reward_step is 'judge'"),
        ({"reward_engine": ["http://"]}, "expected a URL"),
    ],
)
def test_bad_reward_settings(given, message):
    """Settings that cannot be used are refused before anything starts."""
    with pytest.raises(ConfigError, match=message):
        rewarding(Settings(**given))


def test_reward_template(tmp_path):
    """A reward model's conversation is written out by its template, with nothing to follow."""
    pytest.importorskip("jinja2")
    template = tmp_path / "chat_template.jinja"
    template.write_text(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    settings = Settings(engine=[URL], reward_engine=[URL], reward_template=template)
    ((_, engine),) = rewarding(settings)[0].items()
    messages = [Message("user", "q"), Message("assistant", "a")]
    assert engine.write_out(messages) == "[user]q[/][assistant]a[/]"


def test_no_reward_template(tmp_path):
    """A template that is not there is refused before anything starts."""
    with pytest.raises(ConfigError, match="reward_template .*no such file"):
        rewarding(Settings(reward_engine=[URL], reward_template=tmp_path / "none.jinja"))


@pytest.mark.engine
async def test_embedded_judge_in_a_pool_of_its_own(tmp_path):
    """A GGUF file judges beside the engine that generates, as that would judge itself."""
    model = tmp_path / "judge.gguf"
    shutil.copy(str(files("dynasor.engines").joinpath("models", "tiny.gguf")), model)
    judge = {"judge_instruction": "<|judge|>", "judge_mark": "\n"}
    problem = heldout(1)[0]
    results = []
    for reward in ({}, {"reward_engine": [str(model)], "reward_slots": 2, **judge}):
        async with Dynasor(policy="even", slots=4, threads=1, cap=4, **reward) as dynasor:
            results.append(await dynasor.run(BestOfN(problem.question, cap=4, choose="vote")))
            last = dynasor.machine
    assert results[0].answer == results[1].answer is not None
    assert [one.slots for one in last.reward_descriptions.values()] == [2]
    assert list(last.engines) == ["0@embedded"]
    assert list(last.reward_engines) == [f"reward-0@{model}"]
