"""Installing the project builds its page (frontend/build.py)."""

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

# In Vite's place. It counts its runs and makes a page of what it reads, or says what it does not like.
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
# A dependency that lies in the folder itself is installed without a registry.
STAND_IN = {"vite": {"version": "1.0.0"}, "node_modules/vite": {"resolved": "vite", "link": True}}


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
        """Lock the stand-in and these, of which no registry has heard."""
        package = {"name": "page", "devDependencies": {"vite": "file:vite"}, "dependencies": dependencies}
        far = {f"node_modules/{name}": {"version": version} for name, version in dependencies.items()}
        self.write("package.json", json.dumps(package))
        lock = {"name": "page", "lockfileVersion": 3, "packages": {"": package, **STAND_IN, **far}}
        self.write("package-lock.json", json.dumps(lock))

    @property
    def builds(self) -> int:
        return (self.root / "runs").read_text().count("build")

    def refusal(self) -> list[str]:
        """What a build says that fails, its last line apart from the rest."""
        with pytest.raises(PageError) as refused:
            self.page.build()
        assert not self.page.is_current
        said, sentence = str(refused.value).rsplit("\n\n", 1)
        assert "\n" not in sentence
        return [said, sentence]


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
    """A copy of a checkout whose page has been built."""
    shutil.copytree(built_once, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Checkout(tmp_path)


def test_a_page_that_is_current_is_not_built_again(checkout: Checkout) -> None:
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
def test_a_file_that_is_no_source_leaves_the_page_current(built: Checkout, path: str) -> None:
    built.write(path, "new")
    assert built.page.is_current


def test_a_page_without_its_stamp_is_built_again(built: Checkout) -> None:
    """It was built by hand, or its build was interrupted."""
    (built.page.output / STAMP).unlink()
    built.page.build()
    assert built.builds == 2


def test_packages_are_installed_again_only_when_the_lock_changes(built: Checkout) -> None:
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


def test_an_error_of_vite_is_quoted_with_advice_in_one_sentence(built: Checkout) -> None:
    built.write("src/main.ts", "broken")
    said, sentence = built.refusal()
    assert said == "src/main.ts is broken"
    assert sentence.startswith("Vite could not build the page")
    assert "Correct the errors in frontend/" in sentence


def test_a_page_built_elsewhere_is_not_current(checkout: Checkout) -> None:
    checkout.write("src/main.ts", "elsewhere")
    with pytest.raises(
        PageError, match=r"Vite built no page in .*: `outDir` in frontend/vite\.config\.ts must name it"
    ):
        checkout.page.build()
    assert not checkout.page.is_current


def test_unreachable_packages_are_reported_in_one_sentence_and_retried(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(checkout.root / "cache"))
    checkout.depend({"far": "1.0.0"})
    for _ in range(2):
        said, sentence = checkout.refusal()
        assert "ECONNREFUSED" in said
        assert "where the npm registry can be reached" in sentence


def test_packages_of_a_failed_installation_are_installed_again(built: Checkout) -> None:
    left = built.frontend / "node_modules" / "left"
    left.touch()
    lock = built.frontend / "package-lock.json"
    good = lock.read_text()
    lock.write_text("{")
    built.refusal()
    lock.write_text(good)
    (built.page.output / STAMP).unlink()
    built.page.build()
    assert not left.exists()


def test_files_that_shrink_are_stored_compressed_too(built: Checkout) -> None:
    output = built.page.output
    compressed = list(output.rglob("*.gz"))
    assert compressed == [output / "assets" / "main.js.gz"]
    content = compressed[0].read_bytes()
    assert gzip.decompress(content) == (output / "assets" / "main.js").read_bytes()
    # RFC 1952: here stands a time, which would make another file of the same sources.
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


def test_a_source_archive_holds_what_builds_the_page_and_not_the_page(tmp_path: Path) -> None:
    with tarfile.open(pack("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"build.py", "package.json", "package-lock.json", ".npmrc", "vite.config.ts", "index.html", "src/main.tsx"}
    assert {f"frontend/{name}" for name in wanted} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith("server/midsentence_server/page/")]
