"""AWS Signature Version 4, both ways (LLM 2, "Finding the key"; LLM 8).

The rows have the shape of AWS's own suite (``get-vanilla`` and its kin: one access key, one moment, one region). Their
canonical requests are written down by hand from the documented algorithm; the signatures follow from them by four
HMACs that the test makes itself.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.rules.sigv4 import (
    SKEW,
    UNSIGNED,
    access_key_of,
    body_hash,
    canonical_request,
    derived_secret,
    presented,
    sign,
    signing_key,
    skew_of,
    verify,
)

ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MOMENT = 1440938160.0
DATE = "20150830T123600Z"
SCOPE = "20150830/us-east-1/service/aws4_request"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

ROWS: list[tuple[str, str, str, str, list[tuple[str, str]], bytes, str]] = [
    ("get-vanilla", "GET", "/", "", [], b"",
     f"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", [], b"",
     f"GET\n/\nParam1=value1&Param2=value2\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-vanilla-query-order-value", "GET", "/", "Param1=value2&Param1=value1&Param1", [], b"",
     f"GET\n/\nParam1=&Param1=value1&Param1=value2\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\n"
     f"host;x-amz-date\n{EMPTY}"),
    ("get-utf8-query", "GET", "/", "%E1%88%B4=b%2fr", [], b"",
     f"GET\n/\n%E1%88%B4=b%2Fr\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-unreserved", "GET", "/-._~0189AZaz", "", [], b"",
     f"GET\n/-._~0189AZaz\n\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-encoded-path-is-escaped-again", "POST", "/model/anthropic.x%3A0/converse", "", [], b"",
     f"POST\n/model/anthropic.x%253A0/converse\n\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\n"
     f"host;x-amz-date\n{EMPTY}"),
    ("get-relative-and-slashes", "GET", "//a/./b/../c//", "", [], b"",
     f"GET\n/a/c/\n\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-relative-above-the-root", "GET", "/../..", "", [], b"",
     f"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{EMPTY}"),
    ("get-header-value-trim", "GET", "/", "", [("my-header1", "  a   b   c  "), ("my-header2", '"a   b"')], b"",
     f'GET\n/\n\nhost:example.amazonaws.com\nmy-header1:a b c\nmy-header2:"a b"\nx-amz-date:{DATE}\n\n'
     f"host;my-header1;my-header2;x-amz-date\n{EMPTY}"),
    ("get-header-key-duplicate", "GET", "/", "", [("my-header1", "value2"), ("my-header1", "value1")], b"",
     f"GET\n/\n\nhost:example.amazonaws.com\nmy-header1:value2,value1\nx-amz-date:{DATE}\n\n"
     f"host;my-header1;x-amz-date\n{EMPTY}"),
    ("post-x-www-form-urlencoded", "post", "/", "", [("content-type", "application/x-www-form-urlencoded")], b"a=1",
     f"POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\nx-amz-date:{DATE}\n\n"
     f"content-type;host;x-amz-date\n{hashlib.sha256(b'a=1').hexdigest()}"),
]  # fmt: skip


def by_hand(canonical: str) -> str:
    key = ("AWS4" + SECRET).encode()
    for step in SCOPE.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def signed(
    method: str, path: str, query: str, fields: list[tuple[str, str]], hashed: str, token: str = "",
    moment: float = MOMENT, service: str = "service",
) -> list[tuple[str, str]]:  # fmt: skip
    return sign(method, "example.amazonaws.com", path, query, fields, hashed, ACCESS_KEY, SECRET, token, "us-east-1",
                service, moment)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_signatures_follow_from_the_canonical_request(row: tuple[Any, ...]) -> None:
    _, method, path, query, fields, body, canonical = row
    names = canonical.split("\n")[-2]
    added = signed(method, path, query, fields, body_hash(body))
    assert added == [
        ("x-amz-date", DATE),
        ("authorization", f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{SCOPE}, SignedHeaders={names}, "
                          f"Signature={by_hand(canonical)}"),
    ]  # fmt: skip


def test_the_published_signature_of_the_plainest_request() -> None:
    authorization = signed("GET", "/", "", [], EMPTY)[-1][1]
    assert authorization.endswith("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")


def test_the_published_signing_key() -> None:
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_a_session_token_and_an_unsigned_body_are_covered() -> None:
    added = dict(signed("POST", "/", "", [], UNSIGNED, token="TOKEN"))
    assert (added["x-amz-security-token"], added["x-amz-content-sha256"]) == ("TOKEN", UNSIGNED)
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in added["authorization"]


# -- a request that comes in -------------------------------------------------------------------------------------------

PATH = "/model/anthropic.x%3A0/converse"
BODY = b'{"messages":[]}'


def request(**changed: Any) -> dict[str, Any]:
    """A signed request as the gateway gets it."""
    fields = [("content-type", "application/json")]
    hashed = changed.pop("hashed", body_hash(BODY))
    added = signed("POST", PATH, "a=b", fields, hashed, "TOKEN", service=changed.pop("service", "bedrock"))
    authorization = added.pop()[1]
    whole = {
        "method": "POST", "path": PATH, "query": "a=b", "hashed": body_hash(BODY), "secret": SECRET, "moment": MOMENT,
        "fields": [("host", "example.amazonaws.com"), ("user-agent", "Boto3"), *fields, *added],
        "claim": presented(authorization),
    }  # fmt: skip
    return {**whole, **changed}


def test_what_we_sign_we_also_accept_within_the_skew() -> None:
    for moment in (MOMENT, MOMENT - SKEW, MOMENT + SKEW):
        verify(**request(moment=moment))
    verify(**request(hashed=UNSIGNED), unsigned=True)


FIELDS = request()["fields"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"method": "PUT"}, "bad_signature"),
        ({"path": PATH.replace("%3A", ":")}, "bad_signature"),
        ({"query": "a=c"}, "bad_signature"),
        ({"secret": SECRET + "x"}, "bad_signature"),
        ({"hashed": UNSIGNED}, "bad_signature"),
        ({"service": "s3"}, "bad_signature"),
        ({"moment": MOMENT + SKEW + 1}, "signature_expired"),
        ({"moment": MOMENT - SKEW - 1}, "signature_expired"),
        ({"fields": [("host", "other"), *FIELDS[1:]]}, "bad_signature"),
        ({"fields": [*FIELDS, ("x-amz-target", "evil")]}, "bad_signature"),
        ({"fields": [*FIELDS, ("x-amz-date", "20150830T123601Z")]}, "bad_signature"),
        ({"fields": [field for field in FIELDS if field[0] != "x-amz-date"]}, "signature_expired"),
        ({"fields": [field for field in FIELDS if field[0] != "content-type"]}, "bad_signature"),
        ({"fields": [("x-amz-date", "20151330T123600Z") if name == "x-amz-date" else (name, value)
                     for name, value in FIELDS]}, "signature_expired"),
    ],
)  # fmt: skip
def test_anything_that_changed_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Fault) as caught:
        verify(**request(**changed))
    assert (caught.value.code, caught.value.status, caught.value.reason) == ("unauthenticated", 401, reason)


def test_another_body_is_refused() -> None:
    whole = request()
    whole["hashed"] = body_hash(b"{}")
    with pytest.raises(Fault):
        verify(**whole)
    whole["fields"] = [*FIELDS, ("x-amz-content-sha256", body_hash(BODY))]
    with pytest.raises(Fault):
        verify(**whole)


def test_a_signature_must_cover_the_host() -> None:
    whole = request()
    whole["claim"] = whole["claim"]._replace(signed=("x-amz-date", "x-amz-security-token"))
    with pytest.raises(Fault, match="bad_signature"):
        verify(**whole)


GOOD = (
    f"AWS4-HMAC-SHA256 Credential=AK/{SCOPE}, SignedHeaders=host;x-amz-date, "
    "Signature=" + "0" * 64
)  # fmt: skip


def test_a_claim_is_read_and_other_schemes_are_not_ours() -> None:
    claim = presented(GOOD)
    assert claim == ("AK", "20150830", "us-east-1", "service", ("host", "x-amz-date"), "0" * 64)
    assert presented(GOOD.replace(", ", ",")) == claim
    assert presented("Bearer x") is None
    assert presented(None) is None


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256",
        GOOD[:-1],
        GOOD.replace("AK/", ""),
        GOOD.replace("aws4_request", "aws5_request"),
        GOOD.replace("host;x-amz-date", "x-amz-date;host"),
        GOOD.replace("host;x-amz-date", "host;host"),
        GOOD.replace("host;x-amz-date", ";".join(f"h{at:03}" for at in range(65))),
        GOOD.replace("AK", "A" * 600),
    ],
)
def test_a_claim_that_nobody_could_check_is_refused(authorization: str) -> None:
    with pytest.raises(Fault, match="bad_signature"):
        presented(authorization)


@pytest.mark.parametrize(
    ("date", "known", "skew"),
    [
        ("Tue, 14 Nov 2023 22:28:20 GMT", 0.0, 900.0),
        ("Tue, 14 Nov 2023 22:28:20 GMT", 870.0, None),
        ("Tue, 14 Nov 2023 22:13:20 GMT", 900.0, 0.0),
        ("Tue, 14 Nov 2023 22:14:10 GMT", 0.0, None),
        ("Fri, 17 Nov 2023 22:13:20 GMT", 0.0, None),
        ("yesterday", 0.0, None),
        ("", 0.0, None),
    ],
)
def test_a_clock_that_differs_by_more_than_a_minute_and_less_than_a_day_is_believed(
    date: str, known: float, skew: float | None
) -> None:
    assert skew_of(date, 1_700_000_000.0, known) == skew


def test_an_access_key_id_is_the_front_of_a_digest() -> None:
    assert access_key_of(bytes(range(32))) == "cfg0001020304050"


def test_derived_secrets_differ_by_key_and_by_pepper() -> None:
    secret = derived_secret(b"pepper", "key-1")
    expected = hmac.new(b"pepper", b"sigv4\x00key-1", hashlib.sha256).digest()
    assert secret == urlsafe_b64encode(expected).decode().rstrip("=")
    assert len({secret, derived_secret(b"pepper", "key-2"), derived_secret(b"other", "key-1")}) == 3


paths = st.lists(st.text("ab%3A-._~/", max_size=6), max_size=4).map(lambda parts: "/" + "/".join(parts))
queries = st.lists(st.tuples(st.text("ab%20+", max_size=4), st.text("xy/=", max_size=3)), max_size=3)


@given(paths, queries, st.binary(max_size=20))
def test_every_request_we_sign_verifies(path: str, query: list[tuple[str, str]], body: bytes) -> None:
    asked = "&".join(f"{name}={value}" for name, value in query)
    added = signed("POST", path, asked, [], body_hash(body))
    claim = presented(added.pop()[1])
    assert claim is not None
    fields = [("host", "example.amazonaws.com"), *added]
    verify(claim, "POST", path, asked, fields, body_hash(body), SECRET, MOMENT, frozenset(("service",)))


def test_botocore_signs_the_same() -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    import datetime
    from unittest.mock import patch

    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    for _, method, path, query, fields, body, _ in ROWS:
        if len({name for name, _ in fields}) < len(fields):
            continue  # its own mapping of fields keeps one of a name
        url = f"https://example.amazonaws.com{path}" + (f"?{query}" if query else "")
        theirs = AWSRequest(method=method.upper(), url=url, data=body, headers=dict(fields))
        moment = datetime.datetime.fromtimestamp(MOMENT, datetime.UTC)
        with patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
            auth.SigV4Auth(Credentials(ACCESS_KEY, SECRET, "T"), "bedrock", "us-east-1").add_auth(theirs)
        ours = dict(signed(method, path, query, fields, body_hash(body), "T", service="bedrock"))
        if "%2f" in query:
            continue  # it keeps lower-case escapes as they came
        assert theirs.headers["Authorization"] == ours["authorization"], path
        claim = presented(theirs.headers["Authorization"])
        assert claim is not None
        sent = [("host", "example.amazonaws.com"), *[(name.lower(), value) for name, value in theirs.headers.items()]]
        verify(claim, method, path, query, sent, body_hash(body), SECRET, MOMENT)


def test_the_canonical_request_is_what_the_rows_say() -> None:
    for _, method, path, query, _, _, canonical in ROWS:
        lines = canonical.split("\n")
        covered = dict(line.split(":", 1) for line in lines[3:-3])
        assert canonical_request(method, path, query, covered, lines[-1]) == canonical
