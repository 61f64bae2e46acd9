"""What the HTTP client, the SDK and TLS read from the environment is checked, and named without its passwords."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from midsentence import environment
from midsentence.errors import BadSettingsError
from midsentence.settings import Settings

PROXIES = [name for each in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (each, each.lower())]
VARIABLES = (*PROXIES, "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:20900/v1")
    monkeypatch.delenv("MIDSENTENCE_REDIS_URL", raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and its key beside it."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout {path}.key -out {path}"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    return path


def sentence(**variables: str) -> str:
    """What is said about these variables; nothing where they can be used."""
    said = ""
    try:
        environment.check_provider_access(variables)
    except BadSettingsError as error:
        said = str(error)
    assert "\n" not in said
    return said


BAD_PROXIES = {
    "unknown scheme": "htp://127.0.0.1:1",
    "socks4": "socks4://127.0.0.1:1080",
    "no host": "http://",
    "no host but a port": "http://:8080",
    "no number": "http://127.0.0.1:port",
    "a port above 65535": "http://127.0.0.1:99999",
    "port 0": "http://127.0.0.1:0",
    "half a bracket": "http://[::1",
    "a space": "http://proxy .test:8080",
    "a line end": "http://proxy\n.test:8080",
}


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("proxy", BAD_PROXIES.values(), ids=BAD_PROXIES.keys())
def test_a_proxy_that_cannot_be_used_is_named(name: str, proxy: str) -> None:
    assert sentence(**{name: proxy}).startswith(f"{name} cannot be used: ")


@pytest.mark.parametrize("proxy", ["http://p.test:8080", "https://p.test", "p.test:8080", "http://a:b@[::1]:8080", ""])
def test_a_proxy_that_can_be_used_is_accepted(proxy: str) -> None:
    assert sentence(HTTPS_PROXY=proxy, all_proxy=proxy) == ""


@pytest.mark.parametrize("proxy", ["htp://me:hush@p.test", "http://me:hush@p.test:port", "socks4://me:hush@p.test"])
def test_the_password_of_a_proxy_is_not_shown(proxy: str) -> None:
    assert "hush" not in sentence(ALL_PROXY=proxy)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    installed = {"socksio"}

    def find_spec(name: str) -> object:
        return name if name in installed else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert sentence(ALL_PROXY=f"{scheme}://127.0.0.1:1080") == ""
    installed.clear()
    assert "pip install socksio" in sentence(ALL_PROXY=f"{scheme}://127.0.0.1:1080")


def test_a_certificate_file_is_looked_into(certificate: Path, tmp_path: Path) -> None:
    assert sentence(SSL_CERT_FILE=str(certificate)) == ""
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no certificate")
    for path, reason in (
        (tmp_path / "gone", "cannot be read (no such file or directory)"),
        (tmp_path, "cannot be read (is a directory)"),
        (tmp_path / "empty", "holds no certificate"),
        (tmp_path / "text", "holds no certificate"),
        (Path(f"{certificate}.key"), "holds no certificate"),
    ):
        assert sentence(SSL_CERT_FILE=str(path)) == (
            f"SSL_CERT_FILE cannot be used: {path} {reason}. See docs/operations.md."
        )


def test_a_certificate_directory_is_looked_into(certificate: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate.read_bytes())
    assert "holds no certificate under its hash" in sentence(SSL_CERT_DIR=str(tmp_path))
    assert "no such file or directory" in sentence(SSL_CERT_DIR=str(tmp_path / "gone"))
    (tmp_path / "12ab34cd.0").write_bytes(certificate.read_bytes())
    assert sentence(SSL_CERT_DIR=f"{tmp_path / 'gone'}:{tmp_path}") == ""
    # The HTTP client reads the directory only where there is no file.
    assert sentence(SSL_CERT_DIR="/gone", SSL_CERT_FILE=str(certificate)) == ""


def test_a_key_log_must_be_writable(tmp_path: Path) -> None:
    assert sentence(SSLKEYLOGFILE=str(tmp_path / "keys")) == ""
    assert sentence(SSLKEYLOGFILE=str(tmp_path)).startswith("SSLKEYLOGFILE cannot be used: ")


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
def test_what_the_sdk_sends_as_a_header_must_be_one(name: str) -> None:
    assert sentence(**{name: "org-1"}) == ""
    assert sentence(**{name: "Ä"}).startswith(f"{name} cannot be used: ")


@pytest.mark.parametrize(("headers", "is_right"), [("A: b\nX-C: d", True), ("", True), ("bad", False), ("Ä: b", False)])
def test_further_headers_must_be_headers(headers: str, is_right: bool) -> None:
    assert (sentence(OPENAI_CUSTOM_HEADERS=headers) == "") is is_right


def test_white_space_is_taken_off() -> None:
    variables = {"https_proxy": " http://p.test:8080\n", "SSL_CERT_FILE": "\tca.pem ", "OTHER": " kept "}
    environment.strip(variables)
    assert variables == {"https_proxy": "http://p.test:8080", "SSL_CERT_FILE": "ca.pem", "OTHER": " kept "}


@pytest.mark.parametrize(
    ("query", "is_right"),
    [
        ("ssl_ca_certs={ca}", True),
        ("ssl_certfile={ca}&ssl_keyfile={ca}.key", True),
        ("ssl_ca_certs={ca}.gone", False),
        ("ssl_ca_certs={ca}.key", False),
        ("ssl_ca_path={ca}", False),
        ("ssl_certfile={ca}.gone", False),
        ("ssl_certfile={ca}&ssl_keyfile={ca}.gone", False),
        ("ssl_certfile={ca}&ssl_keyfile={ca}", False),
    ],
)
@pytest.mark.parametrize("scheme", ["rediss://me:hush@r.test", "rediss+cluster://me:hush@r.test"])
def test_the_files_for_tls_to_redis_are_looked_into(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, scheme: str, query: str, is_right: bool
) -> None:
    monkeypatch.setenv("MIDSENTENCE_REDIS_URL", f"{scheme}?{query.format(ca=certificate)}")
    said = ""
    try:
        Settings.load()
    except BadSettingsError as error:
        said = str(error)
    assert (said == "") is is_right
    assert "hush" not in said
    assert said.startswith("MIDSENTENCE_REDIS_URL cannot be used: ") is not is_right


BAD = {
    "ALL_PROXY": "socks4://127.0.0.1:1080",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
    "HTTPS_PROXY": "htp://127.0.0.1:1",
    "OPENAI_API_KEY": "sk-\n1",
    "OPENAI_ORG_ID": "Ä",
    "OPENAI_BASE_URL": "http://127.0.0.1:20900/v 1",
    "MIDSENTENCE_LEASE_SECONDS": "inf",
}


@pytest.mark.parametrize("program", ["midsentence_worker.main", "midsentence.launcher.up"])
@pytest.mark.parametrize("name", BAD)
def test_a_program_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, name: str
) -> None:
    """Exit code 2, before "ready", and no traceback; a supervisor would start it again and again otherwise."""
    monkeypatch.setenv(name, BAD[name])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    ended = subprocess.run([sys.executable, "-m", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.removeprefix("midsentence: ").startswith(f"{name} cannot be used")


def test_the_built_in_model_needs_no_way_to_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("ALL_PROXY", "socks4://127.0.0.1")
    Settings.load().check_models()
