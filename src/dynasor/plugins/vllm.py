"""`ProgramScheduler`: vLLM's own scheduler with the queue of programs in the place of its queue.

    vllm serve MODEL --scheduler-cls dynasor.plugins.vllm.ProgramScheduler

vLLM stays as it is; this file subclasses its scheduler and replaces four decisions: which waiting
request is next, which siblings wait for a shared prompt, whom a shortage of memory hits, and
whose cached blocks are given up first. vLLM does not call that interface public, so the versions
that this was tested with are checked before anything of it is imported.
"""

# mypy runs where vLLM is not installed.
# mypy: disable-error-code="import-not-found,misc,no-any-return"

from __future__ import annotations

import logging
import os
import time  # noqa: TID251 - an engine calls this file: it brings no clock along
from typing import Any

import vllm

from dynasor.core.errors import ConfigError
from dynasor.plugins.settings import read_settings
from dynasor.plugins.versions import check_version
from dynasor.plugins.waiting import Prefill, RankedRequests

check_version(vllm.__version__)

from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: E402 - checked before
from vllm.v1.core.sched.request_queue import RequestQueue, SchedulingPolicy  # noqa: E402
from vllm.v1.request import Request  # noqa: E402

__all__ = ["ProgramScheduler"]

# vLLM shows what loggers below its own say, and no others.
_LOG = logging.getLogger("vllm.dynasor")


class _Waiting(RankedRequests[Request], RequestQueue):
    """The queue under vLLM's own base class."""


class ProgramScheduler(AsyncScheduler):
    """Schedules programs: see the module, and docs/vllm-plugin.md for settings and hints.

    Raises `ConfigError` for settings that cannot be used, and where vLLM is told to put requests
    in order itself.
    """

    waiting: _Waiting
    policy: SchedulingPolicy

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.policy is not SchedulingPolicy.FCFS:
            raise ConfigError(
                f"--scheduling-policy {self.policy.value} with ProgramScheduler; programs have an "
                "order of their own: leave that option out, or --scheduler-cls"
            )
        settings = read_settings(self.vllm_config.additional_config, os.environ)
        self.waiting = _Waiting(
            settings, self.max_num_running_reqs, self._prefill(), time.monotonic
        )
        # From here on vLLM preempts by `Request.priority`, which `schedule` fills in.
        self.policy = SchedulingPolicy.PRIORITY
        # One kind of block, one hash each: with several, a hash is found in other ways.
        self._has_plain_cache = (
            self.cache_config.enable_prefix_caching
            and len(self.kv_cache_config.kv_cache_groups) == 1
            and self.hash_block_size == self.block_size
        )
        self._flawed = 0
        _LOG.info("Dynasor orders requests by program: %s", settings)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Plan the next step; returns what vLLM's own method does."""
        unused = self.waiting.begin_step(self.finished_req_ids)
        if unused and self._has_plain_cache:
            self._give_up(unused)
        if self._is_short_of_blocks():
            for place, request in enumerate(self.waiting.worst_first(self.running)):
                request.priority = -place
        if self.waiting.programs.flawed != self._flawed:
            self._warn()
        return super().schedule(*args, **kwargs)

    def _prefill(self) -> Prefill:
        if not self.cache_config.enable_prefix_caching:
            return Prefill()
        chunk = self.scheduler_config.long_prefill_token_threshold
        return Prefill(chunk, self.hash_block_size)

    def _is_short_of_blocks(self) -> bool:
        """Return whether this step might need more blocks than are free.

        At most it begins one for each running request, and fills those of its prompts' tokens.
        """
        groups = len(self.kv_cache_config.kv_cache_groups)
        most = len(self.running) + self.max_num_scheduled_tokens // self.block_size + 1
        return self.kv_cache_manager.block_pool.get_num_free_blocks() < groups * most

    def _give_up(self, hashes: list[bytes]) -> None:
        """Let cached blocks be the first that are overwritten, those that stand first first.

        Until then they can be found: a program that comes back early loses nothing.
        """
        pool = self.kv_cache_manager.block_pool
        blocks = {}
        for block_hash in hashes:
            for block in pool.get_cached_block(block_hash, [0]) or ():
                if block.ref_cnt == 0 and not block.is_null:
                    blocks[block.block_id] = block
        for block in blocks.values():
            pool.free_block_queue.remove(block)
        pool.free_block_queue.prepend_n(list(blocks.values()))

    def _warn(self) -> None:
        """Say once in a while that clients send hints that cannot be read."""
        programs = self.waiting.programs
        if self._flawed == 0 or programs.flawed >= 10 * self._flawed:
            self._flawed = programs.flawed
            _LOG.warning(
                "requests without their hints so far: %d, the last: %s", self._flawed, programs.flaw
            )
