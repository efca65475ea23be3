"""vLLM's own scheduler and ours, driven step by step without a model; a JSON object out.

Run by the interpreter of .venv-vllm:
    PYTHONPATH=src .venv-vllm/bin/python tests/vllm/planned.py MODEL_DIR [NAME ...]
MODEL_DIR is what training/gguf_to_hf.py makes of a GGUF file. The names are those of `FINDINGS`,
all by default but `cost`, which takes time: microseconds for which a step is planned, by both in
turn, with 64 requests that run and 1,000 that wait.
"""

import heapq
import json
import os
import random
import statistics
import sys
import time  # noqa: TID251 - what a step costs
from collections.abc import Callable
from typing import Any

import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256_cbor
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from dynasor.core.errors import UserError
from dynasor.plugins.vllm import ProgramScheduler

BLOCK = 16
init_none_hash(sha256_cbor)
HASHER = get_request_block_hasher(BLOCK, sha256_cbor)


class Planner:
    """One scheduler whose steps take a second each; every request gets the token 7."""

    def __init__(self, kind: type, *, blocks: int = 4000, **options: Any) -> None:
        given: dict[str, Any] = {"max_num_seqs": 64, "max_num_batched_tokens": 2048}
        args = EngineArgs(
            model=MODEL,
            dtype="float32",
            enforce_eager=True,
            block_size=BLOCK,
            **{**given, **options},
        )
        config = args.create_engine_config()
        config.cache_config.num_gpu_blocks = blocks
        spec = FullAttentionSpec(
            block_size=BLOCK, num_kv_heads=1, head_size=16, dtype=torch.float32
        )
        self.scheduler = kind(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
            hash_block_size=BLOCK,
            log_stats=True,
        )
        self.now = 0.0
        if isinstance(self.scheduler, ProgramScheduler):
            self.scheduler.waiting._clock = lambda: self.now
        self.started: list[str] = []
        self.ended: dict[str, float] = {}
        self.preempted: list[str] = []
        self.computed = 0

    def add(
        self, name: str, prompt: list[int], tokens: int, session: str | None = None, **hints: Any
    ) -> None:
        extra = {f"dynasor_{key}": value for key, value in hints.items()}
        sampling = SamplingParams(
            max_tokens=tokens, min_tokens=tokens, ignore_eos=True, extra_args=extra or None
        )
        sampling.update_from_generation_config({}, eos_token_id=0)
        self.scheduler.add_request(
            Request(
                name, prompt, sampling, None, arrival_time=self.now, block_hasher=HASHER,
                session_id=session,
            )
        )  # fmt: skip

    def step(self) -> dict[str, int]:
        """Plan and carry out one step; return how many tokens each request computed."""
        plan = self.scheduler.schedule()
        self.preempted += sorted(plan.preempted_req_ids or ())
        self.now += 1.0
        self.started += [new.req_id for new in plan.scheduled_new_reqs]
        ids = list(plan.num_scheduled_tokens)
        requests = self.scheduler.requests
        sampled = [[] if requests[one].is_prefill_chunk else [7] for one in ids]
        self.computed += plan.total_num_scheduled_tokens
        out = ModelRunnerOutput(ids, {one: at for at, one in enumerate(ids)}, sampled)
        for outputs in self.scheduler.update_from_output(plan, out).values():
            for one in outputs.outputs:
                if one.finish_reason is not None:
                    self.ended[one.request_id] = self.now
        return plan.num_scheduled_tokens

    def run(self, steps: int = 100_000) -> None:
        """Go on until nothing is left to do."""
        while self.scheduler.has_requests():
            self.step()
            steps -= 1
            assert steps, "it never ends"


def prompt_of(number: int, tokens: int) -> list[int]:
    """Return a prompt that no other number's begins like."""
    return [100 + number, *(1 + (number * 31 + at * 7) % 90 for at in range(tokens - 1))]


KINDS = {"plain": AsyncScheduler, "ours": ProgramScheduler}


def order() -> dict[str, Any]:
    """In which order requests start where two run at a time, and programs came in turn."""
    found = {}
    for name, kind in KINDS.items():
        planner = Planner(kind, max_num_seqs=2)
        for one in range(2):
            planner.add(f"early {one}", prompt_of(one, 20), 30)
        planner.step()
        for program, calls in (("large", 6), ("small", 2), ("medium", 4)):
            for one in range(calls):
                hints = {"knob_left": calls, "tokens_per_knob": 10}
                planner.add(f"{program} {one}", prompt_of(7, 20), 10, program, **hints)
        planner.run()
        found[name] = planner.started
    return found


def first_come() -> dict[str, Any]:
    """In which order requests without a program start, of any length."""
    found = {}
    for name, kind in KINDS.items():
        planner, random_ = Planner(kind, max_num_seqs=3, blocks=60), random.Random(1)
        for one in range(40):
            planner.add(f"request {one}", prompt_of(one, 30), random_.randint(2, 200))
            planner.step()
        planner.run()
        found[name] = planner.started
    return found


def shared_prompt() -> dict[str, Any]:
    """Tokens computed for eight siblings, whose prompt of 200 takes one step, or four."""
    found = {}
    for name, kind in KINDS.items():
        for steps, chunk in ((1, 0), (4, 64)):
            planner = Planner(kind, long_prefill_token_threshold=chunk)
            for one in range(8):
                planner.add(f"call {one}", prompt_of(1, 200), 5, "program", knob_left=8)
            planner.add("another", prompt_of(2, 20), 5, "other", knob_left=20)
            first = planner.step()
            planner.run()
            found[f"{name} {steps}"] = [planner.computed, len(first)]
    return found


def victims() -> dict[str, Any]:
    """Who is preempted where memory holds about half of what two programs want."""
    found = {}
    for name, kind in KINDS.items():
        planner = Planner(kind, blocks=24)
        for program, left in (("long", 100), ("short", 4)):
            for one in range(4):
                hints = {"knob_left": left, "tokens_per_knob": 60}
                prompt = prompt_of(10 * one + (left == 4), 20)
                planner.add(f"{program} {one}", prompt, 60, program, **hints)
        planner.run()
        ends = {program: max(at for one, at in planner.ended.items() if program in one)
                for program in ("long", "short")}  # fmt: skip
        found[name] = {"preempted": planner.preempted, "ends": ends}
    return found


def cache() -> dict[str, Any]:
    """Tokens computed for searches that pause between rounds, beside programs of one round."""
    found = {}
    for name, kind in KINDS.items():
        for blocks in (250, 4000):
            found[f"{name} {blocks}"] = _searches(Planner(kind, blocks=blocks, max_num_seqs=32))
    return found


def _searches(planner: Planner) -> int:
    random_ = random.Random(1)
    rounds = [6 if one % 3 == 0 else 1 for one in range(60)]
    prompts = [prompt_of(one, 150) for one in range(60)]
    owing, at_round, pausing, begun, done = [0] * 60, [0] * 60, [], 0, 0

    def send(one: int) -> None:
        left = 4 * (rounds[one] - at_round[one])
        owing[one] = 4
        for call in range(4):
            tokens = random_.randint(20, 60) if rounds[one] > 1 else 150
            name, prompt = f"{one} {at_round[one]} {call}", [*prompts[one], call + 1]
            planner.add(name, prompt, tokens, str(one), knob_left=left, tokens_per_knob=40)

    while done < 60:
        while begun < 60 and begun - done < 8:
            send(begun)
            begun += 1
        while pausing and pausing[0][0] <= planner.now:
            send(heapq.heappop(pausing)[1])
        planner.ended.clear()
        planner.step()
        for ended in planner.ended:
            one = int(ended.split()[0])
            owing[one] -= 1
            if owing[one]:
                continue
            at_round[one] += 1
            if at_round[one] == rounds[one]:
                done += 1
                continue
            prompts[one] = prompts[one] + prompt_of(at_round[one], 48)
            heapq.heappush(pausing, (planner.now + random_.uniform(0, 100), one))
    return planner.computed


def aborted() -> dict[str, Any]:
    """What is left of requests that were taken back while they ran, waited and were held."""
    planner = Planner(ProgramScheduler, max_num_seqs=4, long_prefill_token_threshold=64)
    free = planner.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
    for one in range(12):
        planner.add(f"call {one}", prompt_of(one % 2, 200), 50, f"program {one % 2}", knob_left=6)
    planner.add("plain", prompt_of(3, 20), 50)
    planner.step()
    waiting = len(planner.scheduler.waiting)
    for one in list(planner.scheduler.requests):
        planner.scheduler.finish_requests(one, RequestStatus.FINISHED_ABORTED)
    planner.run()
    planner.now += 1000.0
    planner.add("last", prompt_of(4, 20), 2)
    planner.run()
    planner.step()
    queue, pool = planner.scheduler.waiting, planner.scheduler.kv_cache_manager.block_pool
    left = [len(queue), len(queue.programs), len(queue.programs.requests)]
    left += [len(queue.programs.footprints), len(planner.scheduler.requests)]
    ended = planner.ended
    return {"waiting": waiting, "left": left, "ended": sorted(ended),
            "blocks": free - pool.get_num_free_blocks()}  # fmt: skip


def refused() -> dict[str, Any]:
    """What ProgramScheduler says where it cannot be used."""
    found = {}
    for name, options in (
        ("policy", {"scheduling_policy": "priority"}),
        ("ordering", {"additional_config": {"dynasor": {"ordering": "sfj"}}}),
        ("key", {"additional_config": {"dynasor": {"order": "sjf"}}}),
        ("range", {"additional_config": {"dynasor": {"aging_factor": -1}}}),
    ):
        try:
            Planner(ProgramScheduler, **options)
        except UserError as exc:
            found[name] = str(exc)
    return found


def cost() -> dict[str, Any]:
    """Microseconds for one step: the median of 400, over five pairs."""
    found: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(5):
        for name, kind in KINDS.items():
            planner = Planner(kind)
            for one in range(64):
                planner.add(f"running {one}", prompt_of(one, 100), 600, f"P{one // 4}")
            for _ in range(8):
                planner.step()
            for one in range(1000):
                hints = {"knob_left": one % 13, "tokens_per_knob": 10}
                planner.add(f"waiting {one}", prompt_of(one % 90, 100), 50, f"W{one // 8}", **hints)
            plan, taken = planner.scheduler.schedule, []

            def timed(plan: Callable[[], Any] = plan, taken: list[float] = taken) -> Any:
                begun = time.perf_counter()
                planned = plan()
                taken.append(time.perf_counter() - begun)
                return planned

            planner.scheduler.schedule = timed
            for _ in range(400):
                planner.step()
            found[name].append(statistics.median(taken) * 1e6)
    ratio = statistics.median(found["ours"]) / statistics.median(found["plain"])
    return {**found, "ratio": ratio}


FINDINGS = (order, first_come, shared_prompt, victims, cache, aborted, refused)

if __name__ == "__main__":
    MODEL, *wanted = sys.argv[1:]
    os.environ.pop("DYNASOR_VLLM", None)
    chosen = [one for one in (*FINDINGS, cost) if one.__name__ in wanted] or FINDINGS
    sys.stdout.write(json.dumps({one.__name__: one() for one in chosen}))
