"""AU: authentication. Keys are those of the config, which is the only store of this release; JWTs are signed here by
hand, so that they can be signed wrongly."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from abuse.gateway import Gateway, free_port, until
from abuse.runner import FULL, Run, case, not_shipped
from abuse.talk import Answer, Load, request, talk

ISSUER = "https://issuer.example"
GUARDED = ("/echo", "/echo-ab", "/json", "/checked-answer", "/limited", "/jwt")
MANY = {"failed_tries": 1_000_000}
"""For cases that fail many times and are not about the limit of failed tries (S7.7)."""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None takes one away."""
    good = {"iss": ISSUER, "aud": "gw", "sub": "alice", "exp": int(time.time()) + 300, **changes}
    return {name: value for name, value in good.items() if value is not None}


def signing_input(header: dict[str, Any] | str, payload: dict[str, Any] | str) -> str:
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    return ".".join(b64(text.encode()) for text in texts)


def hs256(secret: bytes, payload: dict[str, Any] | str, header: dict[str, Any] | str | None = None) -> str:
    first = signing_input(header or {"alg": "HS256", "typ": "JWT"}, payload)
    return f"{first}.{b64(hmac.digest(secret, first.encode(), hashlib.sha256))}"


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


def refused(answer: Answer, status: int = 401) -> None:
    """One body for every kind of bad credential (S7.2), apart from the ids of the exchange."""
    assert answer.status == status, answer
    assert answer.code == "unauthenticated", answer
    assert answer.get("www-authenticate").startswith("Bearer"), answer


@case("AU-no-key", "9d512bd20033")
def no_key(run: Run) -> None:
    """The routes of the data plane that have an auth filter; the gateway itself says which have none."""
    for path in GUARDED:
        for method, body in (("GET", None), ("POST", b"{}")):
            with run.variant(f"{method} {path}", calls=0):
                refused(run.request(method, path, [], body))
    with run.variant("open routes are told"):
        assert run.gateway.status()["open_routes"] == ["hello"], run.gateway.status()


@case("AU-fabricated-key", "1c89b8c1b091")
def fabricated_key(run: Run) -> None:
    """Every data route and every route of the admin listener's own table; a new client address every 10 tries."""
    gateway = run.gateway
    root = gateway.ask("/openapi.json")
    table = (
        [(path, method.upper()) for path, methods in root.json()["paths"].items() for method in methods]
        if root.status == 200
        else []
    )
    admin = sorted(
        {*table, ("/api/v1/status", "GET"), ("/api/v1/reload", "POST"), ("/openapi.json", "GET"), ("/docs", "GET")}
    )
    open_ = {
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
    }  # /metrics: the admin listener is on loopback (ARCHITECTURE 11)
    tries = 0
    for key in (f"sk-{run.chance.getrandbits(128):032x}", "tg_live_abcdefghijkl_" + "A" * 43 + "_00000000"):
        with run.variant(f"data, {key[:7]}", calls=0):
            for path in GUARDED:
                for field in (
                    ("Authorization", f"Bearer {key}"),
                    ("X-Api-Key", key),
                    ("Authorization", f"bearer {key}"),
                ):
                    tries += 1
                    source = f"127.0.1.{1 + tries // 10}"
                    refused(run.request(target=path, fields=[field], source=source))
        with run.variant(f"admin, {key[:7]}", calls=0):
            for path, method in admin:
                answer = request(gateway.admin, method, path, bearer(key), b"" if method == "POST" else None)
                wanted = 200 if path in open_ else 401
                assert answer.status == wanted, (path, answer)


@case("AU-auth-fallback-empty", "1ef4c6d5bd08")
def auth_fallback_empty(run: Run) -> None:
    """Keys of the config need no store and always work (S7.4); the verifier that can be without its backend is
    ``jwt`` with a key set nobody can fetch: refused, hanging, reset, nonsense, an error."""
    ways = {
        "refused": ("down", {}), "hangs": ("hang", {}), "resets": ("reset", {}),
        "nonsense": ("raw", {"data": base64.b64encode(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{").decode()}),
        "error": ("status", {"status": 500}),
    }  # fmt: skip
    routes = []
    for name, (kind, more) in ways.items():
        number = run.mock.open(f"keys-{name}")
        if kind == "down":
            run.mock.ask("down", name=f"keys-{name}")
        else:
            run.mock.behave(f"keys-{name}", kind, **more)
        jwt = {"use": "jwt", "issuer": ISSUER, "audience": ["gw"], "jwks": f"http://127.0.0.1:{number}/jwks"}
        routes.append({"name": name, "match": {"path": f"/{name}"}, "filters": [jwt], "upstream": "echo"})
    gateway = run.world.boot(run.world.small(routes=routes))
    try:
        gateway.launch()
        until(lambda: request(gateway.port, target="/echo", fields=run.key).status == 200, 15, "workers serve")
        token = hs256(b"x" * 32, claims(), {"alg": "RS256", "typ": "JWT", "kid": "k1"})
        for name in ways:
            # With a backend that hangs, the first answer waits for it at most 1 s (ID3).
            with run.variant(name, gateway=gateway):
                before = len([c for c in run.calls() if c["port"] == "a"])
                answer = run.request(target=f"/{name}", fields=bearer(token), port=gateway.port)
                assert (answer.status, answer.code) == (503, "auth_unavailable"), answer
                assert int(answer.get("retry-after")) >= 1, answer
                assert len([c for c in run.calls() if c["port"] == "a"]) == before
    finally:
        gateway.stop()


@case("AU-prefix-collision", "bd2a06a2ede7")
def prefix_collision(run: Run) -> None:
    """N = 100 rounds; each pair is alternated on one connection of each worker that comes."""
    secret = run.world.jwt_secret.encode()
    front = f"prefix-{run.chance.getrandbits(64):016x}"[:20]
    mine, yours, nobody = front + "-mine-000001", front + "-yours-00002", front + "-nobody-0003"
    consumers = [{"name": "mine", "keys": [mine]}, {"name": "yours", "keys": [yours]}]
    jwt = {"use": "jwt", "issuer": ISSUER, "audience": ["gw"], "secret": "${ABUSE_JWT_SECRET}", **MANY}
    who = {"identity_fields": {"x-who": "consumer"}, "upstream": "echo"}
    routes = [
        {"name": "key", "match": {"path": "/key"}, "filters": [{"use": "api_key", **MANY}], **who},
        {"name": "token", "match": {"path": "/token"}, "filters": [jwt], **who},
    ]
    payload = claims(sub="mine")
    good = hs256(secret, payload)
    other = hs256(secret, {**payload, "sub": "mina"})
    bad = good[:-2] + ("AA" if not good.endswith("AA") else "BB")
    with run.world.boot(run.world.small(consumers=consumers, routes=routes)) as gateway:
        for name, path, verdicts in (
            ("keys", "/key", ((mine, "mine"), (nobody, ""), (yours, "yours"))),
            ("tokens", "/token", ((good, "mine"), (other, "mina"), (bad, ""))),
        ):  # fmt: skip
            with run.variant(name, gateway=gateway):
                payload_bytes = b"".join(
                    f"GET {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {credential}\r\n\r\n".encode()
                    for _ in range(17)
                    for credential, _ in verdicts
                )
                for _ in range(6):
                    c = talk(gateway.port, payload_bytes, 51)
                    for answer, (_, consumer) in zip(c.answers, list(verdicts) * 17, strict=True):
                        if consumer:
                            assert answer.status == 200, answer
                            assert ["x-who", consumer] in answer.json()["fields"], (consumer, answer)
                        else:
                            refused(answer)
                records = [r.get("consumer", "") for r in gateway.records() if r.get("status") == 401]
                assert not any(records), records


@case("AU-key-in-query", "ae6ae6de913f")
def key_in_query(run: Run) -> None:
    """``/v1/models`` is a model surface; the rest of the line runs on ``/echo``. I10 looks for the key everywhere."""
    for name in ("api_key", "key", "access_token", "token"):
        with run.variant(name, calls=0):
            refused(run.request(target=f"/echo?{name}={run.world.key_a}", fields=[]))
    with run.variant("seen nowhere"):
        until(lambda: run.gateway.records(), 3)
        for where, content in run.gateway.outputs().items():
            assert run.world.key_a.encode() not in content, where
    run.not_shipped("/v1/models", "model surfaces come in a later issue")


@case("AU-brute", "5f7d6c76c46f")
def brute(run: Run) -> None:
    """N = 100 wrong keys a second for 2 s (full: 60 s). ``failed_tries: 20``. The filter counts by client address *and
    worker*, so that 20 a minute is 20 of each worker: 2 workers let 40 through before 429 (its docstring says so)."""
    seconds = 60 if FULL else 2
    config = run.world.small()
    config["routes"][0]["filters"] = [{"use": "api_key", "failed_tries": 20}]
    wrong = "GET /echo HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer wrong-%06d-%032x\r\n\r\n"
    seed = run.chance.getrandbits(100)
    with run.world.boot(config) as gateway, run.variant(gateway=gateway, disturbs=True):
        bad = Load(gateway.port, lambda i: (wrong % (i, seed)).encode(), 100, seconds, source="127.0.0.3").start()
        good = Load(gateway.port, lambda i: run.raw("<G>\r\n"), 10, seconds, source="127.0.0.3").run()
        tally = bad.wait()
        assert good.share(200) == 1.0, good
        statuses = tally.statuses()
        assert set(statuses) <= {401, 429}, tally
        minutes = 1 + seconds // 60
        assert 20 <= statuses[401] <= 2 * 20 * minutes, tally
        assert statuses[429] >= len(tally.entries) - 40 * minutes, tally
        first = next(i for i, e in enumerate(sorted(tally.entries)) if e[2] == 429)
        assert first >= 20, f"429 at try {first + 1}"


@case("AU-revoked-race", "3b578bd92f60")
def revoked_race(run: Run) -> None:
    """The key is taken out of the config and the config reloaded: the admin API of keys comes later. N = 150 calls a
    second over 30 connections for 4 s (full: 500 over 100 for 10 s), 4 workers."""
    rate, most, seconds = (500, 100, 10) if FULL else (150, 30, 3)
    config = run.world.small()
    config["routes"][0]["filters"] = [{"use": "api_key", **MANY}]
    with run.world.boot(config, workers=4) as gateway, run.variant(gateway=gateway, disturbs=True):
        key = f"doomed-{run.chance.getrandbits(96):024x}"
        doomed = {"name": "doomed", "keys": [key]}
        gateway.write(gateway.changed(lambda c: c["consumers"].append(doomed)))
        assert gateway.reload().status == 200
        text = f"GET /echo?doomed HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        load = Load(gateway.port, lambda i: text, rate, seconds, most)
        load.start()
        until(lambda: len(load.tally.entries) > rate, 5)
        gateway.write(gateway.changed(lambda c: c["consumers"].remove(doomed)))
        at = time.monotonic()
        assert gateway.reload().status == 200
        tally = load.wait()
        assert set(tally.statuses()) == {200, 401}, tally
        last = max(call["at"] for call in run.calls() if call["target"].endswith("doomed"))
        assert last < at + 1.0, f"admitted {last - at:.3f} s after"
        late = [e for e in tally.entries if e[0] > at + 1.0]
        assert late and all(e[2] == 401 for e in late), tally


@case("AU-expired-clock", "f7a45615338f")
def expired_clock(run: Run) -> None:
    """Expiry while the key is in use, and so in every cache. Wall clocks are not turned here: the twin tests of
    ``api_key`` and ``jwt`` do that with clocks of their own."""
    secret = run.world.jwt_secret.encode()
    key = f"brief-{run.chance.getrandbits(96):024x}"
    ends = time.time() + 4.0
    jwt = {"use": "jwt", "issuer": ISSUER, "audience": ["gw"], "secret": "${ABUSE_JWT_SECRET}", "skew": "0s"}
    brief = {"name": "brief", "keys": [key], "expires": ends}
    routes = [{"name": "token", "match": {"path": "/token"}, "filters": [jwt], "upstream": "echo"}]
    token = hs256(secret, claims(exp=int(ends)))
    with run.world.boot(run.world.small(consumers=[brief], routes=routes)) as gateway:
        credentials = {"key": ("/echo", key, ends), "token": ("/token", token, float(int(ends)))}
        seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in credentials}
        while time.time() < ends + 0.3:
            for name, (path, credential, _) in credentials.items():
                now = time.time()
                answer = run.request(target=path, fields=bearer(credential), port=gateway.port)
                seen[name].append((now, time.time(), answer.status))
            time.sleep(0.02)
        for name, (_, _, end) in credentials.items():
            with run.variant(name, gateway=gateway):
                assert seen[name][0][2] == 200, seen[name][0]
                assert all(status == 200 for _, after, status in seen[name] if after < end - 0.05), seen[name]
                assert all(status == 401 for before, _, status in seen[name] if before >= end + 0.05), seen[name]
                assert seen[name][-1][2] == 401
    run.not_shipped("clock +1 h and -1 h", "needs faketime, which is not among the development tools")


@case("AU-jwt-none", "dfb086afda31")
def jwt_none(run: Run) -> None:
    secret = run.world.jwt_secret.encode()
    for alg in ("none", "None", "NONE", "nOnE", ""):
        with run.variant(alg or "empty", calls=0):
            first = signing_input({"alg": alg, "typ": "JWT"}, claims())
            for signature in ("", b64(b"x" * 32), hs256(secret, claims(), {"alg": alg}).rpartition(".")[2]):
                refused(run.request(target="/jwt", fields=bearer(f"{first}.{signature}")))
            refused(run.request(target="/jwt", fields=bearer(first)))
    with run.variant("a good one passes", calls=1):
        assert run.request(target="/jwt", fields=bearer(hs256(secret, claims()))).status == 200


@case("AU-jwt-kid", "97bd22d51f63")
def jwt_kid(run: Run) -> None:
    (run.gateway.folder / "empty.key").write_bytes(b"")
    kids = ("../../../empty.key", "empty.key", "x' UNION SELECT 'k'--", "k" * 1048576, 7, None, ["a"])
    for kid in kids:
        with run.variant(str(kid)[:24], calls=0):
            token = hs256(b"", claims(), {"alg": "HS256", "typ": "JWT", "kid": kid})
            answer = run.request(target="/jwt", fields=bearer(token))
            if isinstance(kid, str) and len(kid) > 1000:
                assert answer.status in (400, 401, 431), answer
            else:
                refused(answer)


class Keys:
    """One key of each kind, and tokens signed with them, rightly or not."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.p256 = ec.generate_private_key(ec.SECP256R1())
        self.p384 = ec.generate_private_key(ec.SECP384R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    def jwks(self) -> list[dict[str, Any]]:
        def whole(n: int, size: int = 0) -> str:
            return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))

        r = self.rsa.public_key().public_numbers()
        found: list[dict[str, Any]] = [{"kty": "RSA", "kid": "r", "n": whole(r.n), "e": whole(r.e)}]
        for kid, key, curve, size in (("e", self.p256, "P-256", 32), ("f", self.p384, "P-384", 48)):
            n = key.public_key().public_numbers()
            found.append({"kty": "EC", "kid": kid, "crv": curve, "x": whole(n.x, size), "y": whole(n.y, size)})
        x = self.ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        found.append({"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(x)})
        return found

    def sign(self, alg: str, data: bytes) -> bytes:
        if alg in ("RS256", "RS512"):
            return self.rsa.sign(data, padding.PKCS1v15(), hashes.SHA256() if alg == "RS256" else hashes.SHA512())
        if alg == "PS256":
            return self.rsa.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        if alg in ("ES256", "ES384"):
            key, size = (self.p256, 32) if alg == "ES256" else (self.p384, 48)
            digest = hashes.SHA256() if alg == "ES256" else hashes.SHA384()
            r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return self.ed.sign(data)

    def token(self, alg: str, kid: str | None, payload: dict[str, Any] | str, says: str = "", **header: Any) -> str:
        """A token signed by *alg*, whose header may say otherwise."""
        fields = {"alg": says or alg, "typ": "JWT", **({"kid": kid} if kid else {}), **header}
        first = signing_input(fields, payload)
        return f"{first}.{b64(self.sign(alg, first.encode()))}"


@case("AU-jwt-wycheproof", "2f10f34c0abc")
def jwt_wycheproof(run: Run) -> None:
    """The classes of the published vectors, with keys and tokens of our own; nothing is copied from them."""
    keys = Keys()
    jwt = {"use": "jwt", "issuer": ISSUER, "audience": ["gw"], "keys": keys.jwks()}
    routes = [{"name": "token", "match": {"path": "/token"}, "filters": [jwt], "upstream": "echo"}]
    good = claims()
    pem = keys.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = keys.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    es = keys.token("ES256", "e", good)
    first, _, signature = es.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    half = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    mine = Keys()
    bad = {
        "hmac with the PEM": hs256(pem, good, {"alg": "HS256", "kid": "r"}),
        "hmac with the DER": hs256(der, good, {"alg": "HS256", "kid": "r"}),
        "hmac with the modulus": hs256(keys.jwks()[0]["n"].encode(), good, {"alg": "HS256", "kid": "r"}),
        "hmac with the JWK": hs256(json.dumps(keys.jwks()[0]).encode(), good, {"alg": "HS256", "kid": "r"}),
        "RS256 said to be PS256": keys.token("RS256", "r", good, says="PS256"),
        "PS256 said to be RS256": keys.token("PS256", "r", good, says="RS256"),
        "RS512, not configured": keys.token("RS512", "r", good),
        "ES256 with the RSA key's id": keys.token("ES256", "r", good),
        "RS256 with the EC key's id": keys.token("RS256", "e", good),
        "ES256 said to be ES384": keys.token("ES256", "f", good, says="ES384"),
        "EdDSA with the EC key's id": keys.token("EdDSA", "e", good),
        "zeros": f"{first}.{b64(bytes(64))}",
        "r zero": f"{first}.{b64(bytes(32) + raw[32:])}",
        "s zero": f"{first}.{b64(raw[:32] + bytes(32))}",
        "order twice": f"{first}.{b64(order.to_bytes(32, 'big') * 2)}",
        "r and s swapped": f"{first}.{b64(raw[32:] + raw[:32])}",
        "DER signature": f"{first}.{b64(half)}",
        "one byte more": f"{first}.{b64(raw + bytes(1))}",
        "one byte less": f"{first}.{b64(raw[:-1])}",
        "empty signature": f"{first}.",
        "signature of another": f"{first}.{keys.token('ES256', 'e', claims(sub='eve')).rpartition('.')[2]}",
        "own key embedded": mine.token("ES256", None, good, jwk=mine.jwks()[1]),
        "own key embedded, known kid": mine.token("ES256", "e", good, jwk=mine.jwks()[1]),
        "own key by jku": mine.token("ES256", "e", good, jku=f"http://127.0.0.1:{run.mock.ports['keys']}/evil"),
        "own key by x5u": mine.token("RS256", "r", good, x5u=f"http://127.0.0.1:{run.mock.ports['keys']}/evil"),
        "own key by x5c": mine.token("RS256", "r", good, x5c=["AAAA"]),
        "unknown crit": keys.token("ES256", "e", good, crit=["x-new"], **{"x-new": 1}),
        "empty crit": keys.token("ES256", "e", good, crit=[]),
        "b64 false": keys.token("ES256", "e", good, b64=False, crit=["b64"]),
        "wrong typ": keys.token("ES256", "e", good, typ="dpop+jwt"),
        "two parts": first,
        "four parts": f"{es}.x",
        "five parts": f"{es}.x.y",
        "padding": f"{es}=",
        "blank inside": es[:40] + "%20" + es[40:],
        "standard alphabet": f"{first}.{base64.b64encode(bytes([255]) * 48).decode()}",
        "payload no object": keys.token("ES256", "e", "[1]"),
        "payload no JSON": keys.token("ES256", "e", "{"),
        "payload empty": keys.token("ES256", "e", ""),
        "header no JSON": f"{b64(b'{')}.{first.partition('.')[2]}.{signature}",
        "alg twice": hs256(b"x" * 32, good, '{"alg":"ES256","alg":"none"}'),
        "alg a list": hs256(b"x" * 32, good, {"alg": ["ES256"]}),
        "no alg": hs256(b"x" * 32, good, {"typ": "JWT"}),
        "unknown kid": keys.token("ES256", "z", good),
        "9 KiB": keys.token("ES256", "e", claims(pad="x" * 9000)),
    }
    right = {
        "RS256": keys.token("RS256", "r", good), "PS256": keys.token("PS256", "r", good), "ES256": es,
        "ES384": keys.token("ES384", "f", good), "EdDSA": keys.token("EdDSA", "o", good),
        "at+jwt": keys.token("ES256", "e", good, typ="at+jwt"), "no typ": keys.token("ES256", "e", good, typ="JWT"),
    }  # fmt: skip
    with run.world.boot(run.world.small(routes=routes)) as gateway:
        with run.variant(f"refused: {len(bad)}", gateway=gateway, calls=0):
            for name, token in bad.items():
                answer = run.request(target="/token", fields=bearer(token), port=gateway.port, source="127.0.0.9")
                assert answer.status == 401, (name, answer)
        with run.variant(f"accepted: {len(right)}", gateway=gateway, calls=len(right)):
            for name, token in right.items():
                answer = run.request(target="/token", fields=bearer(token), port=gateway.port)
                assert answer.status == 200, (name, answer)


@case("AU-jwt-claims", "84db2be2b8ab")
def jwt_claims(run: Run) -> None:
    secret = run.world.jwt_secret.encode()
    now = int(time.time())
    twice = json.dumps(claims())[:-1] + f', "exp": {now + 9999}}}'
    for name, payload in {
        "no exp": claims(exp=None),
        "no aud": claims(aud=None),
        "exp a string": claims(exp="1999999999"),
        "exp -1": claims(exp=-1),
        "nbf in an hour": claims(nbf=now + 3600),
        "iss with more behind": claims(iss=ISSUER + ".evil"),
        "iss cut": claims(iss="https://issuer"),
        "aud without ours": claims(aud=["a", "gwx"]),
        "exp twice": twice,
        "exp too large": json.dumps(claims(exp=None))[:-1] + ', "exp": 1e999}',
        "exp null": json.dumps(claims(exp=None))[:-1] + ', "exp": null}',
        "exp true": claims(exp=True),
        "expired": claims(exp=now - 61),
    }.items():
        with run.variant(name, calls=0):
            refused(run.request(target="/jwt", fields=bearer(hs256(secret, payload))))


@case("AU-jwks-flood", "9655953ddb79")
def jwks_flood(run: Run) -> None:
    """N = 400 tokens in 2 s (full: 10,000 in 10 s). The fetches counted are those beyond the one at the start; the
    tokens of the first second wait for the fetch they cause, at most 1 s each (ID3)."""
    n, seconds = (10_000, 10) if FULL else (400, 2)
    keys = Keys()
    body = json.dumps({"keys": keys.jwks()}).encode()
    number = run.mock.ports["keys"]
    page = {
        "kind": "status",
        "status": 200,
        "data": base64.b64encode(body).decode(),
        "fields": [["content-type", "application/json"]],
    }
    run.mock.ask("page", path="/jwks", behaviour=page)
    jwt = {"use": "jwt", "issuer": ISSUER, "audience": ["gw"], "jwks": f"http://127.0.0.1:{number}/jwks"}
    routes = [{"name": "token", "match": {"path": "/token"}, "filters": [jwt], "upstream": "echo"}]
    with run.world.boot(run.world.small(routes=routes)) as gateway, run.variant(gateway=gateway, disturbs=True):
        good = bearer(keys.token("ES256", "e", claims()))
        assert run.request(target="/token", fields=good, port=gateway.port).status == 200
        fetched = len([c for c in run.calls() if c["target"] == "/jwks"])
        tail = keys.token("ES256", "e", claims()).partition(".")[2]

        def text(i: int) -> bytes:
            header = b64(json.dumps({"alg": "ES256", "kid": f"{i}-{run.chance.getrandbits(64):x}"}).encode())
            return f"GET /token HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {header}.{tail}\r\n\r\n".encode()

        # More addresses would be needed to stay under the limit of failed tries; 429 refuses as well as 401 (S7.7).
        tally = Load(gateway.port, text, n / seconds, seconds, most=200).run()
        assert set(tally.statuses()) <= {401, 429} and tally.statuses()[401] >= 100, tally
        extra = len([c for c in run.calls() if c["target"] == "/jwks"]) - fetched
        assert extra <= 1, f"{extra} fetches"
        assert run.request(target="/token", fields=good, port=gateway.port).status == 200


@case("AU-admin-default", "637912a22c97")
def admin_default(run: Run) -> None:
    def start(address: str, token: str | None) -> tuple[Gateway, subprocess.Popen[bytes]]:
        gateway = run.world.boot(run.world.small())
        gateway.config["admin"] = {"address": address, **({"token": token} if token is not None else {})}
        return gateway, gateway.launch()

    for token in (None, "changeme", "sk-1234", "admin", "1234567"):
        with run.variant(f"0.0.0.0 with {token}"):
            gateway, process = start(f"0.0.0.0:{free_port()}", token)
            try:
                code = process.wait(15)
                lines = gateway.log.read_text().strip().splitlines()
                assert code != 0, code
                assert any("token" in line for line in lines) and not any("Traceback" in line for line in lines), lines
                assert len([line for line in lines if "token" in line]) == 1, lines
                assert token is None or token == "admin" or token not in gateway.log.read_text()
            finally:
                gateway.stop()
    with run.variant("loopback without"):
        port = free_port()
        gateway, process = start(f"127.0.0.1:{port}", None)
        try:
            until(lambda: request(port, target="/readyz", timeout=1).status == 200, 15, "ready")
            text = gateway.log.read_text()
            words = [w.strip(".,()'\"") for w in text.split() if w.strip(".,()'\"").startswith("tga_")]
            assert len(words) == 1, text
            assert len(words[0]) >= 4 + 22, "under 128 bits"
            assert request(port, target="/api/v1/status", fields=bearer(words[0])).status == 200
            for path in (gateway.data / "logs").glob("*"):
                assert words[0] not in path.read_text(), path
        finally:
            gateway.stop()


not_shipped(
    "AU-session-fixation",
    "137351baaa27",
    "the UI and its sessions come in a later issue; the admin listener takes no cookie",
)
not_shipped("AU-logout-revoke", "4fff5b42d8ae", "the UI and its sessions come in a later issue")
