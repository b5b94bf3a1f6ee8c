"""Build hook: a wheel carries compiled rooms where a C compiler is found (ARCHITECTURE 11, Build).

``exchange wire rules ports engine`` are compiled by mypyc, save the modules of ``INTERPRETED``. With
``TIDEGATE_PURE`` set, or without a compiler, the wheel is pure and says so. An editable install is always interpreted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("exchange", "wire", "rules", "ports", "engine")

INTERPRETED = {
    "exchange/chat.py": "msgspec structs",
    "exchange/context.py": "msgspec structs",
    "exchange/context_log.py": "msgspec structs",
    "exchange/context_policy.py": "read by msgspec (rules/policy_choice)",
    "exchange/embeddings.py": "msgspec structs",
    "exchange/ledger.py": "msgspec structs",
    "exchange/record.py": "msgspec structs",
    "wire/openai_frames.py": "msgspec structs",
    "rules/context_begin.py": "stores derive their branches from its own, and they are interpreted",
    "rules/capability.py": "msgspec structs",
    "rules/cohere_events.py": "msgspec structs",
    "rules/content_block_events.py": "msgspec structs",
    "rules/converse_events.py": "msgspec structs",
    "rules/generate_events.py": "msgspec structs",
    "rules/generate_usage.py": "msgspec structs",
    "rules/load_report.py": "msgspec structs",
    "rules/emulated_output.py": "msgspec structs",
    "rules/sealed_turns.py": "msgspec structs",
    "rules/ollama_events.py": "msgspec structs",
    "rules/ollama_tap.py": "msgspec structs",
    "ports/authority.py": "msgspec structs",
    "ports/books.py": "msgspec structs",
    "ports/consumers.py": "msgspec structs",
    "ports/dialect.py": "msgspec structs",
    "ports/discovery.py": "msgspec structs",
    "ports/provider.py": "msgspec structs",
    "ports/strategy.py": "msgspec structs",
    "ports/settings.py": "pydantic types; read at load only",
    "engine/guard.py": "runs at ticks, a hundred a second, nearly all of it in system calls",
    "engine/downstream/listener.py": "runs once a connection, nearly all of it in system calls",
}
"""Files of those rooms that stay interpreted, and why."""

OPTIONS = (
    "--config-file=",
    "--ignore-missing-imports",
    "--python-version",
    f"{sys.version_info[0]}.{sys.version_info[1]}",
)

SCRIPT = """\
import os
from concurrent.futures import ThreadPoolExecutor
from setuptools import setup
from distutils.ccompiler import CCompiler
from mypyc.build import mypycify

def compile(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0, extra_preargs=None,
            extra_postargs=None, depends=None):
    macros, objects, after, options, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    first = self._get_cc_args(options, debug, extra_preargs)
    with ThreadPoolExecutor({jobs}) as pool:
        for one in [pool.submit(self._compile, o, *build[o], first, after, options) for o in objects if o in build]:
            one.result()
    return objects

CCompiler.compile = compile
os.environ["CFLAGS"] = os.environ.get("CFLAGS", "") + " -fvisibility=hidden -fno-semantic-interposition -fno-plt"
modules = mypycify({arguments!r}, opt_level="2", debug_level="0", multi_file=True)
setup(name="tidegate", ext_modules=modules, script_args=["build_ext", "--inplace"])
"""
"""Modules share one library, so that they call each other directly, in one C file each: a single file of them all takes
the C compiler many times as long. setuptools would compile the files of a library one after another. Symbols are
hidden: calls between those files need no table then."""


def modules(package: Path) -> list[str]:
    """Files to compile, relative to the folder that holds *package*."""
    found = []
    for room in ROOMS:
        for file in sorted((package / room).rglob("*.py")):
            name = file.relative_to(package).as_posix()
            if file.name != "__init__.py" and name not in INTERPRETED:
                found.append(f"{package.name}/{name}")
    return found


def compiler() -> str | None:
    """The C compiler Python was built for, or any other one."""
    wanted = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    return next((name for name in (wanted, "cc", "gcc", "clang") if shutil.which(name)), None)


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles a copy of the package, and adds the results to the wheel."""

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling: mypyc looks at the types of all that the rooms import."""
        if self.target_name != "wheel" or os.environ.get("TIDEGATE_PURE") or compiler() is None:
            return []
        return ["mypy[mypyc]>=1.18", "setuptools", "types-PyYAML", *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        if os.environ.get("TIDEGATE_PURE"):
            self.app.display_info("tidegate: pure wheel, because TIDEGATE_PURE is set")
            return
        if compiler() is None:
            self.app.display_warning("tidegate: pure wheel, because no C compiler was found")
            return
        work = Path(self.root) / "build" / "compiled"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(Path(self.root) / "src" / "tidegate", work / "tidegate", ignore=shutil.ignore_patterns("*.so"))
        names = modules(work / "tidegate")
        self.app.display_waiting(f"tidegate: compiling {len(names)} modules")
        self._compile(work, names)
        for library in sorted(work.rglob("*.so")):
            if "build" not in library.relative_to(work).parts:
                build_data["force_include"][str(library)] = library.relative_to(work).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _compile(self, work: Path, names: list[str]) -> None:
        """Run mypyc in a process of its own: setuptools changes folder and arguments."""
        (work / "compile.py").write_text(SCRIPT.format(arguments=[*OPTIONS, *names], jobs=os.cpu_count() or 1))
        done = subprocess.run([sys.executable, "compile.py"], cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mypyc refused; TIDEGATE_PURE=1 builds without it\n{done.stdout}\n{done.stderr}")
