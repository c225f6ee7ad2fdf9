"""Where these tests run: on the first GPU, else not at all, and the reason is reported."""

from __future__ import annotations

import os

import pytest

from bertcpp import devices


@pytest.fixture(scope="session")
def gpu() -> devices.Device:
    """The first GPU. The tests that ask for it are skipped where there is none."""
    if reason := devices.why_no_gpu():
        if "BERTCPP_CUDA_BUILT" in os.environ:  # then only a driver and a GPU may be missing
            assert "has no CUDA part" not in reason
            assert "cannot be loaded" not in reason
            assert "cuBLASLt" not in reason
        pytest.skip(f"needs a GPU: {reason}")
    return devices.resolve("cuda")
