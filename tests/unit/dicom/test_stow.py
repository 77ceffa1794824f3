"""What the answer of a web archive says of an object (PS3.18 10.5.3), from a small server of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from octmargin.dicom.outgoing import Action, Destination, Outgoing, Parcel
from octmargin.dicom.settings import DicomSection, WebArchive
from octmargin.dicom.storing import Fate
from octmargin.dicom.stow import StowClient
from octmargin.errors import ConfigError, PeerUnreachableError

UID = "1.2.3"


class Server(HTTPServer):
    """Answers every request with `status` and `answer`, and keeps what it was sent."""

    status = 200
    answer = b""
    head = b""
    body = b""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.head = bytes(self.headers)
        self.server.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    queue = Outgoing(tmp_path / "queue")
    queue.put(Destination.WEB, Action.STORE, "1.2", UID, b"the object")
    (one,) = queue.waiting(Destination.WEB)
    queue.close()
    return one


def client(server: Server, **changes: str) -> StowClient:
    url = f"http://127.0.0.1:{server.server_port}/dicom-web/"
    return StowClient(DicomSection(timeout_s=5.0), WebArchive(url=url, **changes))


def reference(**changes: object) -> dict[str, object]:
    return {"00081155": {"vr": "UI", "Value": [UID]}, **changes}


def failed(reason: int) -> dict[str, object]:
    item = reference(**{"00081197": {"vr": "US", "Value": [reason]}})
    return {"00081198": {"vr": "SQ", "Value": [item]}}


STORED = {"00081199": {"vr": "SQ", "Value": [reference()]}}


@pytest.mark.parametrize(
    ("status", "answer", "fate"),
    [
        (200, STORED, Fate.DELIVERED),
        (202, STORED, Fate.DELIVERED),
        (200, [STORED], Fate.DELIVERED),
        (409, failed(0x0111), Fate.DELIVERED),
        (409, failed(0xA700), Fate.FAILED),
        (409, failed(0x0110), Fate.FAILED),
        (409, failed(0xA900), Fate.REFUSED),
        (409, failed(0x0122), Fate.REFUSED),
        (202, failed(0xC000), Fate.REFUSED),
        (409, {}, Fate.REFUSED),
        (415, "no JSON", Fate.REFUSED),
        (200, {}, Fate.FAILED),
        (200, "no JSON", Fate.FAILED),
        (200, 7, Fate.FAILED),
        (200, {"00081199": {"Value": "odd"}, "00081198": 3}, Fate.FAILED),
        (200, {"00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": ["9.9"]}}]}}, Fate.FAILED),
    ],
)
def test_an_answer_says_what_became_of_the_object(
    server: Server, parcel: Parcel, status: int, answer: object, fate: Fate
) -> None:
    server.status = status
    server.answer = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    with client(server) as stow:
        assert stow.store(parcel).fate is fate


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_is_said_of_the_service_is_no_fault_of_the_object(
    server: Server, parcel: Parcel, status: int
) -> None:
    server.status = status
    with client(server) as stow, pytest.raises(PeerUnreachableError, match=f"says {status}"):
        stow.store(parcel)


def test_the_object_is_the_one_part_of_the_request(server: Server, parcel: Parcel) -> None:
    server.answer = json.dumps(STORED).encode()
    with client(server) as stow:
        stow.store(parcel)
    message = message_from_bytes(server.head + b"\r\n" + server.body, policy=policy.HTTP)
    (part,) = message.iter_parts()
    assert part.get_content_type() == "application/dicom"
    assert part.get_payload(decode=True) == b"the object"
    assert message["Accept"] == "application/dicom+json"


def test_a_token_or_a_login_goes_with_it(server: Server, parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    with client(server, token_file=str(tmp_path / "secret")) as stow:
        stow.store(parcel)
    assert b"Authorization: Bearer s3cret" in server.head
    with client(server, username="oct", password_file=str(tmp_path / "secret")) as stow:
        stow.store(parcel)
    assert b"Authorization: Basic b2N0OnMzY3JldA==" in server.head


def test_a_secret_that_cannot_be_read_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret cannot be read"):
        client(server, token_file=str(tmp_path / "secret"))
