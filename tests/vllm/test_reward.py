"""Dynasor's reward engine against a real vLLM server that pools.

The embedded model is served with a head made of its own judgement: the logit of `+` less that of
`-`. Its mode for thinking is a token of its own, and serves as the mark of a step.
"""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from dynasor.core.types import Message, Prompt, Score
from dynasor.engines.protocol import Description, Meter
from dynasor.engines.reward import RewardEngine

# The first test waits for the server, up to 300 s.
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]

MARK, MARK_ID = "<|think|>", 2
HEAD = {"classifier_from_token": ["-", "+"], "method": "from_2_way_softmax", "num_labels": 1}
POOLER = {"task": "token_classify", "tok_pooling_type": "STEP", "step_tag_id": MARK_ID}
QUESTION = "Tom has 12 apples. Tom buys 7 more apples. How many apples does Tom have now?"
MESSAGES = (Message("system", "<|judge|>"), Message("user", QUESTION))


@pytest.fixture(scope="module")
def server(serving) -> Iterator:
    pools = ["--runner", "pooling", "--convert", "classify"]
    options = ["--hf-overrides", json.dumps(HEAD), "--pooler-config", json.dumps(POOLER)]
    with serving(*pools, *options) as server:
        yield server


@pytest.fixture
async def engine(server) -> AsyncIterator[RewardEngine]:
    engine = RewardEngine(server.url, step=MARK)
    yield engine
    await engine.close()


def score(*texts: str) -> Score:
    return Score(tuple(Prompt(MESSAGES, text) for text in texts))


async def test_start_recognises_a_reward_model(engine: RewardEngine):
    """The engine tells by itself that the server pools, and what it serves."""
    assert await engine.start() == Description("tiny", 64, 768, frozenset({"score"}))
    assert engine.kind is None


async def test_steps(engine: RewardEngine):
    """Steps of one path cost one prompt, and have the rewards that each has alone."""
    await engine.start()
    texts = ["12+7=19.\n", "12+7=19.\nThe answer is \\boxed{19}.\n", "12-7=5.\n"]
    meter = Meter()
    together = (await engine.score(score(*texts), meter)).rewards
    assert meter.is_counted
    alone = []
    prompts = []
    for text in texts:
        one = Meter()
        alone += (await engine.score(score(text), one)).rewards
        prompts.append(one.prompt_tokens)
    assert together == pytest.approx(alone, abs=1e-4)
    assert all(0 < reward < 1 for reward in together)
    assert len({round(reward, 4) for reward in together}) == 3
    assert meter.prompt_tokens == prompts[1] + prompts[2]
