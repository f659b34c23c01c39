"""The distribution as a user gets it: built, installed into an empty environment, run, removed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGIN = "twisted/plugins/wsgate_plugin.py"
FOREIGN = {
    "twisted/__init__.py",
    "twisted/plugins/__init__.py",
    "twisted/plugins/dropin.cache",
}


def run(*command: object, folder: Path) -> str:
    """Run a command away from the clone and its environment, and return what it says."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV") and not name.startswith("COV_")
    }
    result = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}"
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist made from the clone, and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    ignored = shutil.ignore_patterns(
        *(".git", ".venv", ".tools", "reports", "*.egg-info", "__pycache__", ".*_cache"),
        *(".hypothesis", "build", "*.so"),
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The bin folder of an environment with the locked dependencies and the wheel, and no more."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    pip = (folder / "venv/bin/python", "-m", "pip", "--no-input", "install", "--quiet")
    lock = ROOT / "requirements/runtime.txt"
    run(*pip, "--require-hashes", "--only-binary=:all:", "--requirement", lock, folder=folder)
    # No index: had the lock file left a dependency out, this would fail.
    run(*pip, "--no-index", wheel, folder=folder)
    return folder / "venv/bin"


@pytest.mark.slow
def test_the_wheel_brings_the_plugin_and_nothing_that_belongs_to_twisted(wheel_names):
    twisted = {name for name in wheel_names if name.startswith("twisted/")}
    assert twisted == {PLUGIN}
    assert not wheel_names & FOREIGN


@pytest.mark.slow
def test_the_wheel_brings_every_file_of_the_package(wheel_names):
    package = ROOT / "src/wsgate"
    expected = {
        f"wsgate/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".c", ".so")
    }
    assert {"wsgate/py.typed", "wsgate/php/guardian.py"} <= expected
    assert any(name.startswith("wsgate/demo/") and name.endswith(".php") for name in expected)
    assert any(name.startswith("wsgate/demo/") and name.endswith(".html") for name in expected)
    assert expected - wheel_names == set()


@pytest.mark.slow
def test_the_wheel_brings_nothing_but_the_package_the_plugin_and_its_metadata(wheel_names):
    foreign = {
        name
        for name in wheel_names
        if not re.match(r"wsgate/|wsgate-[^/]+\.dist-info/", name) and name != PLUGIN
    }
    assert foreign == set()
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


@pytest.mark.slow
def test_the_sdist_brings_the_plugin_the_licence_and_the_package(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "setup.py",
        "src/wsgate/_speedups.c",
        "LICENSE",
        "README.md",
        f"src/{PLUGIN}",
        "src/wsgate/py.typed",
    } <= names
    assert not names & {f"src/{name}" for name in FOREIGN}
    # Composer's users get php/ from elsewhere.
    assert not any(name.startswith(("php/", "examples/")) for name in names)


@pytest.mark.slow
def test_the_wheel_brings_the_compiled_part_where_it_can_be_built(wheel_names, environment):
    headers = Path(sysconfig.get_path("include"), "Python.h")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    can_build = headers.exists() and shutil.which(compiler) is not None
    assert any(name.startswith("wsgate/_speedups.") for name in wheel_names) == can_build
    said = run(environment / "python", "-m", "wsgate", "--version", folder=environment)
    assert said.rstrip().endswith("compiled)" if can_build else "pure Python)")


@pytest.mark.slow
def test_without_a_compiler_it_installs_in_pure_python(built, environment, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    build = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
    )
    run("env", f"CC={tmp_path}/cc", *build, "--wheel-dir", tmp_path, sdist, folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    folder = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        assert not any("_speedups" in name for name in archive.namelist())
        archive.extractall(folder)
    said = run(
        *("env", f"PYTHONPATH={folder}", environment / "python", "-m", "wsgate", "--version"),
        folder=tmp_path,
    )
    assert said.rstrip().endswith("pure Python)")


@pytest.mark.slow
def test_the_dependencies_fit_together(environment):
    run(environment / "python", "-m", "pip", "check", folder=environment)


@pytest.mark.slow
def test_twistd_knows_wsgate_next_to_its_own_commands(environment):
    assert "--port" in run(environment / "twistd", "wsgate", "--help", folder=environment)
    commands = run(environment / "twistd", "--help", folder=environment)
    assert re.search(r"^\s+wsgate\s", commands, re.MULTILINE)
    assert re.search(r"^\s+web\s", commands, re.MULTILINE)
    assert "Usage" in run(environment / "twistd", "web", "--help", folder=environment)


@pytest.mark.slow
def test_listing_the_commands_does_not_import_wsgate(environment):
    script = (
        "import sys; from twisted.plugin import getPlugins;"
        "from twisted.application.service import IServiceMaker;"
        "print([maker.tapname for maker in getPlugins(IServiceMaker)]);"
        "print('wsgate' in sys.modules, 'twisted.internet.reactor' in sys.modules)"
    )
    names, imported = run(environment / "python", "-c", script, folder=environment).splitlines()[
        -2:
    ]
    assert "'wsgate'" in names
    assert imported == "False False"


@pytest.mark.slow
def test_python_m_wsgate_runs_the_same_command(environment):
    version = PYPROJECT["project"]["version"]
    said = run(environment / "python", "-m", "wsgate", "--version", folder=environment)
    assert said.startswith(f"wsgate {version} ")
    assert said == run(environment / "twistd", "wsgate", "--version", folder=environment)


@pytest.mark.slow
def test_what_is_left_after_removal_is_twisted_as_it_was(environment, wheel):
    pip = (environment / "python", "-m", "pip")
    run(*pip, "uninstall", "--yes", "wsgate", folder=environment)
    try:
        assert "Usage" in run(environment / "twistd", "web", "--help", folder=environment)
        assert " wsgate " not in run(environment / "twistd", "--help", folder=environment)
    finally:
        run(*pip, "install", "--quiet", "--no-index", wheel, folder=environment)


def locked(name: str) -> dict[str, str]:
    """Return name and version of each package in a lock file, and check that each has a hash."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^([a-z0-9-]+)==(\S+)(.*(?:\\\n.*)+)", text, re.MULTILINE)
    assert all("--hash=sha256:" in rest for _, _, rest in entries)
    assert len(entries) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))
    return {package: version for package, version, _ in entries}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("build", PYPROJECT["build-system"]["requires"]),
        ("runtime", PYPROJECT["project"]["dependencies"]),
        ("test", PYPROJECT["project"]["dependencies"]),
        ("test", PYPROJECT["dependency-groups"]["test"]),
    ],
)
def test_the_lock_file_holds_what_pyproject_asks_for(lock, requirements):
    versions = locked(lock)
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement


def test_the_tests_run_with_the_versions_that_are_deployed():
    deployed, tested = locked("runtime"), locked("test")
    assert {name: tested.get(name) for name in deployed} == deployed


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").iterdir()), ids=lambda path: path.name
)
def test_no_lock_file_names_a_host(path):
    assert "://" not in path.read_text(encoding="utf-8")
    assert "index-url" not in path.read_text(encoding="utf-8")
