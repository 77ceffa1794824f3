"""A real archive for each module that asks for one: Orthanc, started, stopped and asked over its REST interface."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import needs_program
from tests.ports import free_port

PLUGINS = Path("/usr/share/orthanc/plugins")
WORKLISTS, DICOMWEB = "libModalityWorklists.so", "libOrthancDicomWeb.so"


class Orthanc:
    """One archive with a folder of its own; `start` and `stop` it as often as a test wants."""

    def __init__(self, folder: Path, plugins: tuple[str, ...] = (), **configuration: Any) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self.https_port = 0
        self.ae_title = "ORTHANC"
        self.worklists = folder / "worklists"
        self.worklists.mkdir(parents=True)
        self._program = needs_program("Orthanc")
        for plugin in plugins:
            if not (PLUGINS / plugin).exists():
                pytest.skip(f"{PLUGINS / plugin} is not installed (apt-get install orthanc-dicomweb)")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.configuration = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(PLUGINS / plugin) for plugin in plugins],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowFindWorklist": True,
            "DicomAlwaysAllowGet": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomScpTimeout": 10,
            "DicomThreadsCount": 1,
            "HttpThreadsCount": 3,
            "ConcurrentJobs": 1,
            "JobsHistorySize": 10,
            "SaveJobs": False,
            "OverwriteInstances": False,
            "Worklists": {"Enable": True, "Database": str(self.worklists)},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        } | configuration

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> Any:
        """What the REST interface says."""
        return self._get(path).json()

    def bytes(self, path: str) -> bytes:
        """What the REST interface gives."""
        return self._get(path).content

    def find(self, uid: str) -> list[str]:
        """The archive's own ids of the instances with a SOP Instance UID."""
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
        return list(httpx.post(f"{self.url}/tools/find", json=query, timeout=10).json())

    def empty(self) -> None:
        """Have it run, and forget every patient and everything scheduled."""
        if self._process is None:
            self.start()
        for file in self.worklists.iterdir():
            file.unlink()
        for patient in self.get("/patients"):
            httpx.delete(f"{self.url}/patients/{patient}", timeout=10).raise_for_status()

    def start(self) -> None:
        file = self._folder / "orthanc.json"
        file.write_text(json.dumps(self.configuration))
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen([self._program, str(file)], stdout=log, stderr=log)
        log.close()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system")
            except httpx.HTTPError:
                time.sleep(0.05)  # it says nothing when it is ready
            else:
                return
        pytest.fail(f"Orthanc does not start: {(self._folder / 'log').read_text()[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _get(self, path: str) -> httpx.Response:
        response = httpx.get(f"{self.url}{path}", timeout=10)
        response.raise_for_status()
        return response


@pytest.fixture(autouse=True)
def _sockets_that_were_let_go() -> Iterator[None]:
    """Have what pynetdicom leaves open closed within the test that knows of it."""
    yield
    gc.collect()


@contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that takes TLS and hands it on to another, as a hospital's reverse proxy does.

    Debian 12's Orthanc serves no HTTPS: its CivetWeb 1.15 knows OpenSSL 1.1 alone, and ends the process at the first
    request. Services that end TLS themselves are tried in tests/unit/dicom/test_tls.py.
    """

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(handle, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        server.close()
        loop.run_until_complete(_let_all_end(loop))
        loop.close()


async def _let_all_end(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive with a worklist and a web service."""
    archive = Orthanc(tmp_path_factory.mktemp("archive") / "orthanc", (WORKLISTS, DICOMWEB))
    archive.start()
    yield archive
    archive.stop(signal.SIGKILL)


@pytest.fixture
def orthanc(started: Orthanc) -> Orthanc:
    """It runs, and has nothing."""
    started.empty()
    return started
