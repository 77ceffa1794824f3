"""Say what a console found, face by face, or why nothing of it may be relied on. Research use only.

    python subscriber.py broker.toml north or-1

broker.toml is what `octmargin broker init` wrote for a viewer, or any file with a [broker] table. Needs aiomqtt 2.
It prints what has changed. `lines_of` and `listen` are the subscriber, some twenty lines; the rest connects it. Which
rules it keeps, and why: docs/messages.md.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt


def lines_of(said):
    case = said.get("case", {})
    is_live = said.get("$state") == "ready" and case.get("session") == said.get("health", {}).get("session")
    for topic, v in said.items():
        if topic.startswith("verdict/") and v:
            is_of_this = all(v[key] == case.get(key) for key in ("session", "case_id", "specimen_id"))
            is_current = is_of_this and v["sweep"] >= case.get("sweeps", {}).get(v["face"], 0)
            good = is_live and is_current and datetime.now(UTC) < datetime.fromisoformat(v["valid_until"])
            words = (
                f"{v['verdict']}, coverage {int(100 * v['coverage'])}%, {v['visualised_depth_mm']} mm deep"
            )
            yield f"{topic}: {words if good else 'not to be relied on'}{' (SYNTHETIC)' * v['synthetic']}"


async def listen(client, base):
    said = {}
    async with client, asyncio.timeout(5) as silence:  # whoever is silent for so long is taken for gone
        await client.subscribe([(base + part, 1) for part in ("$state", "case", "verdict/+", "health")])
        async for message in client.messages:
            topic, text = message.topic.value.removeprefix(base), message.payload.decode()
            said[topic] = content = text if topic == "$state" else json.loads(text or "{}")
            if topic != "$state" and content.get("schema", 1) != 1:
                raise ValueError(f"{topic} has schema {content['schema']}, and this program knows 1")
            if topic == "health" and not message.retain:  # what a broker remembers is no sign of life
                silence.reschedule(asyncio.get_running_loop().time() + 5)
            if "health" in said:  # until the daemon is heard nothing is known
                tell(list(lines_of(said)) or ["no face has a verdict"])


told = []


def tell(lines):
    if lines != told:
        told[:] = lines
        print("\n".join(lines), flush=True)


def connection(host="127.0.0.1", port=1883, username=None, password_file=None, tls=None, **_):
    password = Path(password_file).read_text().strip() if password_file else None
    trusted = ssl.create_default_context(cafile=tls["ca_file"]) if tls else None
    if tls and "cert_file" in tls:
        trusted.load_cert_chain(tls["cert_file"], tls["key_file"])
    protocol = aiomqtt.ProtocolVersion.V5
    return aiomqtt.Client(
        host, port, username=username, password=password, tls_context=trusted, protocol=protocol
    )


async def main(file, site, console):
    try:
        broker = tomllib.loads(Path(file).read_text())["broker"]
        connection(**broker)  # reads the files that it names
    except KeyError:
        sys.exit(f"{file}: has no [broker] table; take the broker.toml of a client")
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"{file}: it, or a file that it names, cannot be used: {error}")
    while True:
        try:
            await listen(connection(**broker), f"octmargin/1/{site}/{console}/")
        except (aiomqtt.MqttError, TimeoutError, ValueError, KeyError) as error:
            tell([f"nothing is known: {str(error) or 'the daemon is silent'}"])
            await asyncio.sleep(1)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python subscriber.py broker.toml SITE CONSOLE")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
