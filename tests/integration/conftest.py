import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import support  # noqa: E402
from fake.ca import FakeCA  # noqa: E402
from fake.endpoint import Endpoint  # noqa: E402


def pytest_report_header():
    return f"everleaf: {support.EVERLEAF}, release: {support.EVERLEAF_RELEASE}"


@pytest.fixture
def http_port():
    """Where http-01 is validated: the program listens there while a challenge is pending."""
    return support.PORTS.get()


@pytest.fixture
def make_ca(tmp_path):
    """Fake CAs; whatever a client did against the RFC fails the test."""
    made = []

    def make(http_port=None, name="ca"):
        made.append(FakeCA(tmp_path / name, http_port))
        return made[-1]

    yield make
    for ca in made:
        ca.close()
        assert ca.violations == []


@pytest.fixture
def ca(make_ca, http_port):
    return make_ca(http_port)


@pytest.fixture
def make_everleaf(tmp_path):
    made = []

    def make(place=None, **options):
        place = tmp_path / place if place else tmp_path
        place.mkdir(exist_ok=True)
        made.append(support.Everleaf(place, **options))
        return made[-1]

    yield make
    for everleaf in made:
        everleaf.stop()


@pytest.fixture
def everleaf(make_everleaf, ca, http_port):
    """With the fake CA, http-01 by its own listener, no certificate yet."""
    return make_everleaf().issuer(ca).http_01(http_port)


@pytest.fixture(scope="session")
def name_server(tmp_path_factory):
    server = support.NameServer(tmp_path_factory.mktemp("dns"))
    yield server
    server.stop()


@pytest.fixture
def make_pebble(tmp_path, name_server, http_port):
    made = []

    def make(version, **options):
        if version != "2.4" and not support.PEBBLE_210.exists():
            pytest.skip("Pebble 2.10 is not there")
        made.append(support.Pebble(tmp_path / f"pebble{len(made)}", version, name_server, http_port,
                                   **options))
        return made[-1]

    yield make
    for pebble in made:
        pebble.stop()


@pytest.fixture(params=["2.4", "2.10"])
def pebble(request, make_pebble):
    return make_pebble(request.param)


@pytest.fixture
def nginx(tmp_path):
    server = support.Nginx(tmp_path / "nginx")
    yield server
    server.stop()


@pytest.fixture
def make_endpoint():
    made = []

    def make(*args, **options):
        made.append(Endpoint(*args, **options))
        return made[-1]

    yield make
    for endpoint in made:
        endpoint.stop()
