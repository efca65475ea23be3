"""Random numbers that a replay draws again: seeded by names, never by the process.

The only file of the core that may import `random`.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

__all__ = ["call_seed", "generator", "program_seed"]


def generator(seed: int, program: str, strand: str) -> Random:
    """Return the generator of one strand of one program; use its `.random()` only."""
    return Random(f"{seed}/{program}/{strand}")


def program_seed(seed: int, program: str) -> int:
    """Return the number from which a program's calls get their sampling seeds."""
    name = f"{seed}/{program}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=4).digest(), "big")


def call_seed(program: int, number: int) -> int:
    """Return the sampling seed of a program's n-th call, in [0, 2**31): engines accept no more.

    Steps by the golden ratio's multiple of 2**32 (Knuth, volume 3, section 6.4), so that no two
    of a program's first 2**31 calls share a seed.
    """
    return ((program + number * 2_654_435_761) & 0xFFFF_FFFF) >> 1
