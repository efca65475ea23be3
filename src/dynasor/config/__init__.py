"""Settings: one typed tree from defaults, a TOML file, the environment and flags, in that order.

Unknown keys are refused wherever they stand. `DYNASOR_POLICY=even` sets `policy`, and so on;
`DYNASOR_SERVE_PORT=80` sets `port` of the table `[serve]`.
"""

from dynasor.config.loading import load_settings
from dynasor.config.serving import Serving
from dynasor.config.settings import MOST_BRANCHES, Settings
from dynasor.config.written import (
    SAID_ELSEWHERE,
    format_policy,
    format_program,
    parse_ordering,
    parse_policy,
    parse_program,
)

__all__ = [
    "MOST_BRANCHES",
    "SAID_ELSEWHERE",
    "Serving",
    "Settings",
    "format_policy",
    "format_program",
    "load_settings",
    "parse_ordering",
    "parse_policy",
    "parse_program",
]
