"""The README of a broker's folder."""

from __future__ import annotations

from octmargin.site.settings import Auth, Settings

_GUIDE = """\
# MQTT broker of octmargin

Made by `octmargin broker init`. Research use only; not a medical device.

MQTT over TLS on port {port}, MQTT over WebSockets over TLS on port {websocket_port}. MQTT clients log in with
{auth}, displays in a browser with passwords.

- `authority/`: the certificate authority. `ca.key` belongs nowhere but here, and offline: it is needed to sign and
  renew certificates only.
- `broker/`: configuration, rights, hashed passwords, and the broker's certificate and key. It belongs at
  `{installed_at}` on the broker's machine.
- `clients/<site>/<role>-<name>/`: what one client needs, its secret among it. It belongs at
  `{client_folder}` on that client's machine; then delete the secrets here.
- `broker.toml`: hosts and ports, read when users or sites are added.

Keys, passwords and rights are readable for their owner alone.

## Install the broker

1. Install mosquitto 2.0 or newer with WebSockets (Debian: `apt install mosquitto`).
2. Copy `broker/` to `{installed_at}`, and give it to the user that mosquitto runs as:
   `chown -R mosquitto: {installed_at}`.
3. Run `mosquitto -c {installed_at}/mosquitto.conf` as a service of the system, in place of the
   configuration that mosquitto came with: one broker reads one configuration.
4. Open ports {port} and {websocket_port} in the firewall, for the operating rooms' network alone.

## Install a client

- A console: copy its files to `{client_folder}`, make them readable for the daemon's user alone, and add
  the table of its `broker.toml` to the daemon's configuration. `octmargin doctor -c FILE` checks it.
- A display in a browser: have the machine trust `ca.pem`. Address and user are in `broker.toml`, the password is in
  `password`.
- An archive, or `octmargin watch`: the same values as options.

## Later

- More users, consoles or sites: `octmargin broker init FOLDER --site SITE --console NAME --reader NAME ...` adds, and
  changes nothing that is there. Copy `broker/acl` and `broker/passwords`, and send mosquitto a SIGHUP.
- Renew: `octmargin broker init FOLDER --site SITE --renew` renews the certificates that end within 30 days, of all
  sites, with the keys that they have. Copy the files that it names, and restart mosquitto.
- Take rights away: delete the user's block in `broker/acl` and line in `broker/passwords`, copy both, and restart
  mosquitto. The user's certificate then opens nothing.
- A new password: delete the user's line in `broker/passwords` and its `password` file, and run
  `octmargin broker init` as for a new user.
"""


def guide(settings: Settings) -> str:
    """Text of the README; it names no secret."""
    return _GUIDE.format(
        port=settings.port,
        websocket_port=settings.websocket_port,
        auth="certificates" if settings.auth is Auth.CERTIFICATES else "passwords",
        installed_at=settings.installed_at,
        client_folder=settings.client_folder,
    )
