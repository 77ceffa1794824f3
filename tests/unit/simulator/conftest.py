import pytest

from octmargin_simulator.phantom import LayeredPhantom


@pytest.fixture(scope="session")
def phantom() -> LayeredPhantom:
    """All six faces of the default seed, on a coarse grid."""
    return LayeredPhantom(samples=1024, alines=64, frames=8)
