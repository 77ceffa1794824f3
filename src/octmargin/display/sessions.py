"""Who is logged in. A session is proved by the broker when it begins, and again from time to time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from octmargin.bus.rights import Role
from octmargin.display.proof import Proof, Prover
from octmargin.site.users import User

SESSION_S = 12 * 3600.0
"""A working day; then one logs in again."""
PROVED_AGAIN_S = 600.0
"""A user whose rights were taken away is out after so long."""
_ASKED_AGAIN_S = 15.0
"""So long nobody asks a broker again that did not answer."""
MOST_SESSIONS = 256
MOST_FAILURES, FAILURES_WITHIN_S = 10, 60.0
"""Of one address; an attempt that is under way counts as one, until it is known to be none."""
_MOST_ADDRESSES = 1024
_AT_ONCE, _MOST_WAITING = 4, 32
"""Proofs: each is a connection to the broker."""
_OF_DISPLAYS = (Role.VIEWER, Role.OPERATOR, Role.READER, Role.ARCHIVE)
"""Who may log in. A console is a machine beside the scanner, whose password opens everything, and nobody types it."""

log = structlog.get_logger()


@dataclass(slots=True)
class Session:
    """Somebody who is logged in. The password is kept in memory, to prove it again and to speak for its user."""

    user: str
    password: str
    role: Role
    began_s: float
    asked_s: float
    """When the broker was asked last."""
    proved_s: float

    def __repr__(self) -> str:
        return f"Session({self.user})"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody is not let in; `status` is HTTP's."""

    status: int
    reason: str
    retry_after_s: int | None = None


class Sessions:
    """Those of one display's server, for users of one site."""

    def __init__(self, prover: Prover, site: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._prover = prover
        self._site = site
        self._clock = clock
        self._by_key: OrderedDict[bytes, Session] = OrderedDict()
        self._secret = secrets.token_bytes(32)
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._proving: dict[bytes, asyncio.Task[Session | Refused]] = {}
        self._under_way: Counter[str] = Counter()
        """Attempts of each address that the broker has not answered."""
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def log_in(self, user: str, password: str, address: str) -> str | Refused:
        """The token of a new session, for somebody at a network address."""
        session = await self._prove(user, password, address)
        if isinstance(session, Refused):
            return session
        token = secrets.token_urlsafe(32)
        self._keep(self._key(token), session)
        log.info("logged in", user=user, address=address)
        return token

    async def by_token(self, token: str) -> Session | None:
        """The session of a token, None where there is none (any more)."""
        return await self._still(self._key(token))

    async def by_password(self, user: str, password: str, address: str) -> Session | Refused:
        """The session of somebody who gives his password with each request; it begins with the first."""
        key = self._key(f"{user}\0{password}")
        known = await self._still(key)
        if known is not None:
            return known
        session = await self._prove(user, password, address)
        if isinstance(session, Session):
            self._keep(key, session)
        return session

    def log_out(self, token: str) -> None:
        """End a session; nothing happens where there is none."""
        session = self._by_key.pop(self._key(token), None)
        if session is not None:
            log.info("logged out", user=session.user)

    def _key(self, secret: str) -> bytes:
        # What is looked up is no secret, so that the time of a comparison tells nothing.
        return hmac.digest(self._secret, secret.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _keep(self, key: bytes, session: Session) -> None:
        self._by_key[key] = session
        self._by_key.move_to_end(key)
        while len(self._by_key) > MOST_SESSIONS:
            self._by_key.popitem(last=False)

    async def _still(self, key: bytes) -> Session | None:
        session, now_s = self._by_key.get(key), self._clock()
        if session is None:
            return None
        if now_s - session.began_s > SESSION_S:
            self._by_key.pop(key, None)
            return None
        if now_s - session.proved_s > PROVED_AGAIN_S and now_s - session.asked_s > _ASKED_AGAIN_S:
            session.asked_s = now_s
            proof = await self._ask(session.user, session.password)
            if proof is Proof.IS_WRONG:
                self._by_key.pop(key, None)
                log.warning("a session ends: the broker does not know its user any more", user=session.user)
                return None
            if proof is Proof.IS_RIGHT:
                session.proved_s = now_s
        return session

    async def _prove(self, name: str, password: str, address: str) -> Session | Refused:
        user = User.parse(name)
        if user is None or user.site != self._site:
            return self._refused(
                name,
                address,
                f"that is no user of site {self._site}: they are called {self._site}.ROLE.NAME",
            )
        if user.role not in _OF_DISPLAYS:
            return self._refused(name, address, f"a {user.role} does not log in at a display")
        # A page that asks for many pictures at once, through another server, is one attempt.
        key = self._key(f"{address}\0{name}\0{password}")
        proving = self._proving.get(key)
        if proving is None:
            wait_s = self._must_wait_s(address)
            if wait_s:
                return Refused(429, "too many attempts that failed; wait a minute", wait_s)
            if self._recent_failures(address) + self._under_way[address] >= MOST_FAILURES:
                return Refused(429, "too many attempts at once; try again", 1)
            self._under_way[address] += 1
            proving = self._proving[key] = asyncio.create_task(
                self._prove_user(user, password, address), name="login"
            )
            proving.add_done_callback(lambda _: self._proved(key, address))
        # Whoever goes away meanwhile has made his attempt all the same.
        return await asyncio.shield(proving)

    def _proved(self, key: bytes, address: str) -> None:
        del self._proving[key]
        self._under_way[address] -= 1
        if not self._under_way[address]:
            del self._under_way[address]

    async def _prove_user(self, user: User, password: str, address: str) -> Session | Refused:
        name = user.username
        proof = await self._ask(name, password)
        if proof is Proof.NO_ANSWER:
            return Refused(503, "the MQTT broker, which knows the users, does not answer; try again")
        if proof is Proof.IS_WRONG:
            return self._refused(name, address, "user or password is wrong")
        now_s = self._clock()
        return Session(name, password, user.role, now_s, now_s, now_s)

    async def _ask(self, user: str, password: str) -> Proof:
        if self._waiting >= _MOST_WAITING:
            return Proof.NO_ANSWER
        self._waiting += 1
        try:
            async with self._asking:
                return await self._prover.prove(user, password)
        finally:
            self._waiting -= 1

    def _refused(self, user: str, address: str, reason: str) -> Refused:
        failures = self._failures.setdefault(address, deque(maxlen=MOST_FAILURES))
        self._failures.move_to_end(address)
        failures.append(self._clock())
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
        # In ASCII, quoted: what somebody types is not to move the cursor of whoever reads the log.
        log.warning("login refused", user=ascii(user[:64]), address=address)
        return Refused(401, reason)

    def _recent_failures(self, address: str) -> int:
        since_s = self._clock() - FAILURES_WITHIN_S
        return sum(at_s > since_s for at_s in self._failures.get(address, ()))

    def _must_wait_s(self, address: str) -> int:
        """Until the oldest of too many failures is forgotten; 0 where there are not too many."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < MOST_FAILURES:
            return 0
        left_s = FAILURES_WITHIN_S - (self._clock() - failures[0])
        return max(0, int(left_s) + 1) if left_s > 0 else 0
