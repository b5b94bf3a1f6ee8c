"""Faults: what went wrong, whose side it was, whether it may be tried again, which status says so.

One table (S6) names every code a client can ever see. A fault answers three questions as fields, not as classes:
``side``, ``retry`` and ``status``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tidegate.exchange.head import Fields

CLIENT: Final = "client"
GATEWAY: Final = "gateway"
UPSTREAM: Final = "upstream"

NEVER: Final = 0
"""Trying again cannot help, or would repeat a side effect."""
IF_IDEMPOTENT: Final = 1
"""The upstream may have acted: only an idempotent request goes round again (S14.1)."""
NOT_PROCESSED: Final = 2
"""Provably nothing was processed: any request whose body is still at hand may go round again."""


class Code(NamedTuple):
    """One row of the S6 table."""

    status: int
    title: str
    grpc: str
    proxy_status: str
    flag: str
    wait: bool = False
    """True: the answer carries ``Retry-After`` (S6.6)."""


CODES: Final[dict[str, Code]] = {
    "bad_request": Code(400, "The request is malformed", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "ambiguous_path": Code(400, "The path can be read in two ways", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "invalid_json": Code(400, "The body is not valid JSON", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "depth_exceeded": Code(400, "The body is nested too deeply", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "duplicate_key": Code(400, "The body names a key twice", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "bad_encoding": Code(400, "The body does not match its encoding", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "invalid_request": Code(400, "The model call is not valid", "INVALID_ARGUMENT", "http_request_error", "BR"),
    "context_length": Code(400, "The input is too long for the model", "INVALID_ARGUMENT", "", "BR"),
    "content_policy": Code(400, "The content is against the model's policy", "INVALID_ARGUMENT", "", "BR"),
    "translation_loss": Code(400, "The target cannot say all that was asked", "INVALID_ARGUMENT", "", "BR"),
    "unsupported_level": Code(400, "The route keeps no contexts", "INVALID_ARGUMENT", "", "BR"),
    "invalid_body": Code(400, "The body is not a valid context request", "INVALID_ARGUMENT", "", "BR"),
    "context_ambiguous": Code(400, "Two addresses of a context disagree", "INVALID_ARGUMENT", "", "BR"),
    "level_mismatch": Code(400, "The level contradicts the body", "INVALID_ARGUMENT", "", "BR"),
    "unsupported_protocol": Code(400, "The context protocol is not spoken here", "INVALID_ARGUMENT", "", "BR"),
    "previous_response_not_found": Code(400, "The previous response does not exist", "NOT_FOUND", "", "NF"),
    "conversation_locked": Code(400, "Another turn of the conversation is running", "ABORTED", "", "CF"),
    "unauthenticated": Code(401, "Valid credentials are required", "UNAUTHENTICATED", "", "UA"),
    "forbidden": Code(403, "The caller may not do this", "PERMISSION_DENIED", "http_request_denied", "FB"),
    "scope": Code(403, "The caller lacks a required scope", "PERMISSION_DENIED", "http_request_denied", "FB"),
    "price_unknown": Code(403, "No price is known for the model", "PERMISSION_DENIED", "", "FB"),
    "egress_denied": Code(
        403, "The destination is not allowed", "PERMISSION_DENIED", "destination_ip_prohibited", "FB"
    ),
    "route_not_found": Code(404, "No route matches the request", "UNIMPLEMENTED", "", "NR"),
    "not_found": Code(404, "The object does not exist", "NOT_FOUND", "", "NF"),
    "model_not_found": Code(404, "The model does not exist", "NOT_FOUND", "", "NF"),
    "context_not_found": Code(404, "The context does not exist", "NOT_FOUND", "", "NF"),
    "version_not_found": Code(404, "The version does not exist", "NOT_FOUND", "", "NF"),
    "template_not_found": Code(404, "The template does not exist", "NOT_FOUND", "", "NF"),
    "method_not_allowed": Code(405, "The method is not allowed here", "UNIMPLEMENTED", "", "NR"),
    "request_timeout": Code(408, "The request came too slowly", "DEADLINE_EXCEEDED", "", "RT"),
    "idempotency_conflict": Code(409, "The idempotency key was used for another request", "ABORTED", "", "CF"),
    "version_conflict": Code(409, "The object has changed meanwhile", "ABORTED", "", "CF"),
    "context_conflict": Code(409, "The context has moved on", "ABORTED", "", "CF"),
    "turn_in_progress": Code(409, "Another turn of the context is running", "ABORTED", "", "CF"),
    "history_diverged": Code(409, "The history sent is not the one kept", "ABORTED", "", "CF"),
    "merge_conflict": Code(409, "The branches cannot be merged", "ABORTED", "", "CF"),
    "api_retired": Code(410, "This API has been retired", "UNIMPLEMENTED", "", "RE"),
    "context_expired": Code(410, "The context has expired", "NOT_FOUND", "", "NF"),
    "context_deleted": Code(410, "The context has been deleted", "NOT_FOUND", "", "NF"),
    "redacted": Code(410, "The content has been redacted", "NOT_FOUND", "", "NF"),
    "precondition_failed": Code(412, "A precondition does not hold", "FAILED_PRECONDITION", "", "CF"),
    "body_too_large": Code(413, "The body is larger than allowed", "RESOURCE_EXHAUSTED", "", "TL"),
    "too_large": Code(413, "The context request is larger than allowed", "RESOURCE_EXHAUSTED", "", "TL"),
    "ratio_exceeded": Code(413, "The body inflates too much", "RESOURCE_EXHAUSTED", "", "TL"),
    "context_full": Code(413, "The context is at its limit", "RESOURCE_EXHAUSTED", "", "TL"),
    "context_overflow": Code(413, "What must be kept does not fit the model", "RESOURCE_EXHAUSTED", "", "TL"),
    "uri_too_long": Code(414, "The request target is too long", "RESOURCE_EXHAUSTED", "", "TL"),
    "unsupported_media_type": Code(415, "The content type is not supported", "INVALID_ARGUMENT", "", "BR"),
    "unsupported_encoding": Code(415, "The content coding is not supported", "INVALID_ARGUMENT", "", "BR"),
    "dictionary_unknown": Code(415, "The compression dictionary is not known", "INVALID_ARGUMENT", "", "BR"),
    "range_not_satisfiable": Code(416, "The range lies outside the object", "INVALID_ARGUMENT", "", "BR"),
    "expectation_failed": Code(417, "The expectation cannot be met", "INVALID_ARGUMENT", "", "BR"),
    "misdirected": Code(421, "This connection does not serve that host", "UNAVAILABLE", "", "NR"),
    "invalid_field": Code(422, "A field of the body is not valid", "INVALID_ARGUMENT", "", "BR"),
    "unknown_field": Code(422, "A field of the body is not known", "INVALID_ARGUMENT", "", "BR"),
    "too_many_keys": Code(422, "The body has too many keys", "INVALID_ARGUMENT", "", "BR"),
    "delta_invalid": Code(422, "The delta cannot be applied", "INVALID_ARGUMENT", "", "BR"),
    "idempotency_mismatch": Code(422, "The idempotency key was used for another request", "ABORTED", "", "CF"),
    "history_resent": Code(422, "The history was sent again", "INVALID_ARGUMENT", "", "BR"),
    "slot_missing": Code(422, "A slot of the template has no value", "INVALID_ARGUMENT", "", "BR"),
    "policy_forbidden": Code(422, "The policy may not be changed so", "PERMISSION_DENIED", "", "FB"),
    "upgrade_required": Code(426, "Another protocol version is required", "INVALID_ARGUMENT", "", "BR"),
    "precondition_required": Code(428, "A precondition is required", "FAILED_PRECONDITION", "", "CF"),
    "parent_required": Code(428, "The policy demands a parent", "FAILED_PRECONDITION", "", "CF"),
    "rate_limited": Code(429, "Too many requests", "RESOURCE_EXHAUSTED", "", "RL"),
    "quota_exceeded": Code(429, "The quota is used up", "RESOURCE_EXHAUSTED", "", "RL"),
    "budget_exceeded": Code(429, "The budget is used up", "RESOURCE_EXHAUSTED", "", "RL"),
    "headers_too_large": Code(431, "The header fields are too large", "RESOURCE_EXHAUSTED", "", "TL"),
    "client_closed": Code(499, "The client has gone", "CANCELLED", "", "DC"),
    "backend_invalid": Code(500, "The route names no valid backend", "INTERNAL", "proxy_configuration_error", "NC"),
    "not_implemented": Code(501, "The method is not known", "UNIMPLEMENTED", "", "BR"),
    "bad_upstream": Code(502, "The upstream answered badly", "UNAVAILABLE", "http_protocol_error", "UF"),
    "tls_error": Code(502, "The upstream could not be trusted", "UNAVAILABLE", "tls_certificate_error", "UF"),
    "upstream_too_large": Code(502, "The upstream answer is too large", "UNAVAILABLE", "http_response_body_size", "UF"),
    "upstream_unavailable": Code(
        503, "No upstream could be reached", "UNAVAILABLE", "destination_unavailable", "UH", True
    ),
    "overloaded": Code(503, "The service is overloaded", "UNAVAILABLE", "connection_limit_reached", "UO", True),
    "auth_unavailable": Code(
        503, "Credentials cannot be checked now", "UNAVAILABLE", "proxy_internal_error", "GU", True
    ),
    "authz_unavailable": Code(
        503, "Permissions cannot be checked now", "UNAVAILABLE", "proxy_internal_error", "GU", True
    ),
    "limiter_unavailable": Code(503, "Limits cannot be checked now", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "ledger_unavailable": Code(503, "Costs cannot be recorded now", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "store_unavailable": Code(503, "Contexts cannot be reached now", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "commit_failed": Code(503, "The turn could not be recorded", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "entry_version_unsupported": Code(
        503, "The context was written by a newer version", "UNAVAILABLE", "proxy_internal_error", "GU", True
    ),
    "draining": Code(503, "The gateway is shutting down", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "quarantined": Code(503, "The request has been quarantined", "UNAVAILABLE", "proxy_internal_error", "GU", True),
    "upstream_timeout": Code(504, "The upstream took too long", "DEADLINE_EXCEEDED", "http_response_timeout", "UT"),
    "deadline_exceeded": Code(504, "The deadline has passed", "DEADLINE_EXCEEDED", "http_response_timeout", "UT"),
    "only_if_cached": Code(504, "The answer is not in the cache", "DEADLINE_EXCEEDED", "", "UT"),
    "bad_version": Code(505, "The protocol version is not supported", "UNIMPLEMENTED", "", "BR"),
    "loop_detected": Code(508, "The request loops", "FAILED_PRECONDITION", "proxy_loop_detected", "LD"),
}  # fmt: skip

REASON_PROXY_STATUS: Final = {
    "reset": "connection_terminated",
    "stale_connection": "connection_terminated",
    "connect_failed": "connection_refused",
    "dns_failed": "dns_error",
    "connect_timeout": "connection_timeout",
    "ip_denied": "http_request_denied",
}
"""Where a reason is finer than its code, the RFC 9209 error is too."""

REASON_FLAG: Final = {"circuit_open": "CO", "connect_failed": "UF", "dns_failed": "UF"}


class Fault(Exception):
    """What went wrong, as a value that can be raised.

    code         a key of ``CODES``
    reason       the finer name where the table has one (``circuit_open``, ``queue_full``, ``bad_framing`` ...), or ""
    detail       one sentence for a person; never a secret, address, key or query
    side         ``CLIENT``, ``GATEWAY`` or ``UPSTREAM``
    retry        ``NEVER``, ``IF_IDEMPOTENT`` or ``NOT_PROCESSED``
    retry_after  seconds to wait, 0 when unknown or pointless
    close        the client connection cannot be used any more
    fields       extra answer fields (``www-authenticate``, ``allow``, ``ratelimit`` ...)
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        reason: str = "",
        side: str = GATEWAY,
        retry: int = NEVER,
        retry_after: float = 0.0,
        close: bool = False,
        fields: Fields | None = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(code, reason, detail)
        self.code = code
        self.reason = reason
        self.detail = detail
        self.side = side
        self.retry = retry
        self.retry_after = retry_after
        self.close = close
        self.fields: Fields = fields if fields is not None else []
        self.extra = extra
        """Members added to the problem body, e.g. ``violated-policies`` (S9.9)."""

    @property
    def status(self) -> int:
        return CODES[self.code].status

    @property
    def flag(self) -> str:
        return REASON_FLAG.get(self.reason) or CODES[self.code].flag

    @property
    def proxy_status(self) -> str:
        """The RFC 9209 ``error`` token, or "" when the fault is the client's own."""
        if self.side == CLIENT:
            return ""
        return REASON_PROXY_STATUS.get(self.reason) or CODES[self.code].proxy_status

    def __repr__(self) -> str:
        return f"<Fault {self.status} {self.code} {self.reason} ({self.side})>"
