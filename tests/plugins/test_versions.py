"""Which vLLM the plug-in works with."""

import pytest

from dynasor.core.errors import ConfigError
from dynasor.plugins.versions import check_version


@pytest.mark.parametrize("version", ["0.32.0", "0.32.7", "0.32.1rc1", "0.32"])
def test_known(version):
    """Every release of the known minor versions is accepted."""
    check_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.0.0", "dev", "", "0.9.2"])
def test_unknown(version):
    """Any other is refused in one line: what was found, what is known, what to do."""
    with pytest.raises(ConfigError, match=r"vllm>=0.32,<0.33: install .* without --scheduler-cls"):
        check_version(version)
