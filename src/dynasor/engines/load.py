"""How busy a server is, from the text of its metrics.

A page of vLLM's has some thousand lines: only those of the two series that count are parsed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from dynasor.engines.protocol import Load

__all__ = ["load_of"]


def load_of(page: bytes, series: tuple[str, str]) -> Load | None:
    """Return the requests that run and that wait, summed over a server's engines.

    None where either series is missing or is not made of counts.
    """
    running, waiting = (list(_values(page, name)) for name in series)
    counts = [*running, *waiting]
    if not running or not waiting or not all(math.isfinite(n) and n >= 0 for n in counts):
        return None
    return Load(int(sum(running)), int(sum(waiting)))


def _values(page: bytes, name: str) -> Iterator[float]:
    wanted = name.encode()
    lines = [line for line in page.splitlines() if line.startswith(wanted)]
    text = b"\n".join(lines).decode("utf-8", "replace")
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        return
    for family in families:
        yield from (sample.value for sample in family.samples if sample.name == name)
