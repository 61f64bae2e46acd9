"""The build of the page, which an installation of the project runs (frontend/build.py)."""

import gzip
import json
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from frontend.build import STAMP, Page, PageError
from tests.up.running import ROOT

# A substitute for Vite. It counts its runs, and copies its source to the page or reports an error in it.
VITE = """
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

appendFileSync('../runs', `${process.argv.slice(2)} `);
const source = readFileSync('src/main.ts', 'utf8');
if (source.includes('broken')) {
  console.error('\\x1b[38;5;246msrc/main.ts\\x1b[0m is broken');
  process.exit(1);
}
const output = '../server/midsentence_server/page';
rmSync(output, { recursive: true, force: true });
mkdirSync(`${output}/assets`, { recursive: true });
if (source.includes('elsewhere')) process.exit(0);
writeFileSync(`${output}/index.html`, source);
cpSync('public', output, { recursive: true });
writeFileSync(`${output}/assets/main.js`, 'let x;\\n'.repeat(1000));
"""
# npm installs a dependency from the folder itself without a registry.
LOCAL_VITE = {"vite": {"version": "1.0.0"}, "node_modules/vite": {"resolved": "vite", "link": True}}


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.frontend = root / "frontend"
        self.page = Page(root)

    def fill(self) -> "Checkout":
        self.write(".npmrc", "")
        self.depend({})
        self.write("vite/package.json", json.dumps({"name": "vite", "version": "1.0.0", "type": "module"}))
        self.write("vite/bin/vite.js", VITE)
        self.write("src/main.ts", "the page")
        self.write("public/small", "small " * 100)
        (self.frontend / "public" / "noise").write_bytes(random.Random(1).randbytes(5000))
        (self.root / "server" / "midsentence_server").mkdir(parents=True)
        return self

    def write(self, path: str, text: str) -> None:
        (self.frontend / path).parent.mkdir(parents=True, exist_ok=True)
        (self.frontend / path).write_text(text)

    def depend(self, dependencies: dict[str, str]) -> None:
        """Lock the substitute for Vite, and these dependencies, which are in no registry."""
        package = {"name": "page", "devDependencies": {"vite": "file:vite"}, "dependencies": dependencies}
        far = {f"node_modules/{name}": {"version": version} for name, version in dependencies.items()}
        self.write("package.json", json.dumps(package))
        lock = {"name": "page", "lockfileVersion": 3, "packages": {"": package, **LOCAL_VITE, **far}}
        self.write("package-lock.json", json.dumps(lock))

    @property
    def builds(self) -> int:
        return (self.root / "runs").read_text().count("build")

    def failed_build(self) -> list[str]:
        """Run a build that fails. Returns its output and its last line."""
        with pytest.raises(PageError) as refused:
            self.page.build()
        assert not self.page.is_current
        output, sentence = str(refused.value).rsplit("\n\n", 1)
        assert "\n" not in sentence
        return [output, sentence]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path).fill()


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = Checkout(tmp_path_factory.mktemp("built")).fill()
    checkout.page.build()
    return checkout.root


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Checkout:
    """A copy of a checkout with a page that is built."""
    shutil.copytree(built_once, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Checkout(tmp_path)


def test_a_current_page_is_not_built_again(checkout: Checkout) -> None:
    assert not checkout.page.is_current
    for _ in range(2):
        checkout.page.build()
    assert checkout.page.is_current
    assert checkout.builds == 1


@pytest.mark.parametrize("path", ["src/main.ts", "src/words/new.ts", "public/icon.svg", "index.html", "tsconfig.json"])
def test_a_changed_source_makes_the_page_stale(built: Checkout, path: str) -> None:
    assert built.page.is_current
    built.write(path, "something else")
    assert not built.page.is_current


def test_a_renamed_source_makes_the_page_stale(built: Checkout) -> None:
    (built.frontend / "public" / "small").rename(built.frontend / "public" / "smell")
    assert not built.page.is_current


def test_a_stale_page_is_built_again(built: Checkout) -> None:
    built.write("src/main.ts", "something else")
    built.page.build()
    assert built.page.is_current
    assert built.builds == 2


@pytest.mark.parametrize("path", ["tests/new.test.ts", "node_modules/.vite/cache", "__pycache__/build.pyc", "src/.swp"])
def test_a_file_other_than_a_source_leaves_the_page_current(built: Checkout, path: str) -> None:
    built.write(path, "new")
    assert built.page.is_current


def test_a_page_without_its_stamp_is_built_again(built: Checkout) -> None:
    """It was built by hand, or its build was interrupted."""
    (built.page.output / STAMP).unlink()
    built.page.build()
    assert built.builds == 2


def test_packages_are_reinstalled_only_when_the_lock_changes(built: Checkout) -> None:
    left = built.frontend / "node_modules" / "left"  # npm ci begins with an empty folder
    left.touch()
    built.write("src/main.ts", "another page")
    built.page.build()
    assert left.exists()
    with (built.frontend / "package-lock.json").open("a") as file:
        file.write("\n")
    built.page.build()
    assert not left.exists()


def test_a_production_environment_still_builds(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("npm_config_omit", "dev")
    checkout.page.build()
    assert checkout.page.is_current


def test_an_error_of_vite_is_quoted_with_advice(built: Checkout) -> None:
    built.write("src/main.ts", "broken")
    output, sentence = built.failed_build()
    assert output == "src/main.ts is broken"
    assert sentence.startswith("Vite could not build the page")
    assert "Correct the errors in frontend/" in sentence


def test_a_page_built_elsewhere_is_not_current(checkout: Checkout) -> None:
    checkout.write("src/main.ts", "elsewhere")
    with pytest.raises(
        PageError, match=r"Vite built no page in .*: `outDir` in frontend/vite\.config\.ts must name it"
    ):
        checkout.page.build()
    assert not checkout.page.is_current


def test_unreachable_packages_are_reported_and_retried(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(checkout.root / "cache"))
    checkout.depend({"far": "1.0.0"})
    for _ in range(2):
        output, sentence = checkout.failed_build()
        assert "ECONNREFUSED" in output
        assert "where the npm registry can be reached" in sentence


def test_packages_of_a_failed_installation_are_reinstalled(built: Checkout) -> None:
    left = built.frontend / "node_modules" / "left"
    left.touch()
    lock = built.frontend / "package-lock.json"
    good = lock.read_text()
    lock.write_text("{")
    built.failed_build()
    lock.write_text(good)
    (built.page.output / STAMP).unlink()
    built.page.build()
    assert not left.exists()


def test_compressible_files_are_stored_compressed_too(built: Checkout) -> None:
    output = built.page.output
    compressed = list(output.rglob("*.gz"))
    assert compressed == [output / "assets" / "main.js.gz"]
    content = compressed[0].read_bytes()
    assert gzip.decompress(content) == (output / "assets" / "main.js").read_bytes()
    # RFC 1952 allows a time here, which would make the build irreproducible.
    assert content[4:8] == bytes(4)


def pack(target: str, directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (packed,) = directory.iterdir()
    return packed


def test_a_wheel_holds_the_page_and_its_licences(tmp_path: Path) -> None:
    with zipfile.ZipFile(pack("wheel", tmp_path)) as wheel:
        names = {name.removeprefix("midsentence_server/page/") for name in wheel.namelist()}
    assert {"index.html", "icon.svg", "licenses.md"} <= names
    scripts = {name for name in names if name.startswith("assets/") and name.endswith(".js")}
    assert scripts
    assert {f"{name}.gz" for name in scripts} & names
    assert not [name for name in names if "node_modules" in name]


def test_a_source_archive_holds_the_pages_sources_and_not_the_page(tmp_path: Path) -> None:
    with tarfile.open(pack("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"build.py", "package.json", "package-lock.json", ".npmrc", "vite.config.ts", "index.html", "src/main.tsx"}
    assert {f"frontend/{name}" for name in wanted} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith("server/midsentence_server/page/")]
