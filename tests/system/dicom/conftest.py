"""A real archive for each test that asks for one: Orthanc, started, stopped and asked over its REST interface."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import needs_program

PLUGINS = Path("/usr/share/orthanc/plugins")
WORKLISTS, DICOMWEB = "libModalityWorklists.so", "libOrthancDicomWeb.so"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Orthanc:
    """One archive with a folder of its own; `start` and `stop` it as often as a test wants."""

    def __init__(
        self, program: str, folder: Path, plugins: tuple[str, ...] = (), **configuration: Any
    ) -> None:
        self.dicom_port, self.http_port = free_port(), free_port()
        self.ae_title = "ORTHANC"
        self.worklists = folder / "worklists"
        self.worklists.mkdir(parents=True)
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._scheme = "https" if configuration.get("SslEnabled") else "http"
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
        return f"{self._scheme}://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> Any:
        """What the REST interface says."""
        return self._get(path).json()

    def bytes(self, path: str) -> bytes:
        """What the REST interface gives."""
        return self._get(path).content

    def find(self, uid: str) -> list[str]:
        """The archive's own ids of the instances with a SOP Instance UID."""
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
        found = httpx.post(f"{self.url}/tools/find", json=query, verify=False, timeout=10)  # noqa: S501
        return list(found.json())

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

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _get(self, path: str) -> httpx.Response:
        # Its certificate is the test's own.
        response = httpx.get(f"{self.url}{path}", verify=False, timeout=10)  # noqa: S501
        response.raise_for_status()
        return response


@pytest.fixture(scope="session")
def orthanc_program() -> str:
    return needs_program("Orthanc")
