"""Workers start from any script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = r"""
import asyncio
from dynasor.workers import Workers

print("begins")

async def main():
    async with Workers() as workers:
        print(await workers.compare("math", (r"\frac{\sqrt{2}}{2}",), (r"\frac{1}{\sqrt 2}",)))

asyncio.run(main())
"""


@pytest.mark.process
def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"` runs once, and its comparison is made."""
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=100, check=True
    )
    assert ran.stdout.splitlines() == ["begins", "((0,), 0)"]
