"""The config that ``tidegate init`` writes: small, commented, and good as it stands (a test checks it)."""

from __future__ import annotations

from typing import Final

STARTER: Final = """\
# A gateway in front of one service.
#   tidegate check      says what is wrong with this file, and where
#   tidegate run        serves it
#   tidegate reload     takes up your changes without cutting anyone
# Every setting, with its unit and its default: docs/reference/configuration.md
# `tidegate schema` prints a JSON Schema with which editors complete this file.

listeners:
  - address: 127.0.0.1:8080        # 0.0.0.0:8080 to be reached from other machines
  # - address: 0.0.0.0:8443
  #   tls: {certificates: [{cert: cert.pem, key: key.pem}]}

admin:
  address: 127.0.0.1:9080          # /healthz /readyz /metrics and the admin API

# trusted_proxies: [10.0.0.0/8]    # balancers in front whose X-Forwarded-For is believed

upstreams:
  - name: service
    targets:
      - url: http://127.0.0.1:9001
      # - {url: http://127.0.0.1:9002, weight: 2}
    # health: {path: /healthz, interval: 1s}        # ask each target; without it real answers are watched
    timeouts: {request: 30s}

# consumers:                       # who may call routes with the filter api_key
#   - name: mobile
#     keys: ["${MOBILE_KEY}"]      # from the environment; ${file:/run/secrets/mobile} reads a file

routes:
  - name: service
    match: {path: /}               # itself and everything under it
    # filters:
    #   - {use: api_key}
    #   - {use: rate_limit, rate: 100/s, by: consumer}
    upstream: service
  - name: hello
    match: {path: /hello, exact: true}
    respond: {json: {hello: world}}
"""
