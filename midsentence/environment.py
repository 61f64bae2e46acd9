"""What the environment gives to the HTTP client, to the SDK and to TLS, checked before anything is started.

These libraries read the variables themselves. What they cannot use would end a worker with a traceback, again and
again, or make every turn fail. Each error is one sentence that names the variable and shows no password.
"""

import importlib.util
import os
import re
import ssl
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

from midsentence.errors import BadSettingsError

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# The SDK sends these as headers.
_HEADERS = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_CUSTOM_HEADERS = "OPENAI_CUSTOM_HEADERS"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\x20-\x7e]*")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_KEY_LOG = "SSLKEYLOGFILE"
# OpenSSL finds a certificate of a directory by its hash alone.
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.\d+")
_KEY_FILES = ("ssl_certfile", "ssl_keyfile")


def strip(environment: MutableMapping[str, str]) -> None:
    """Take white space from both ends of the variables that are checked here: a file's last line end, for example."""
    names = {*_HEADERS, *_CERTIFICATES, *_both_cases((*_PROXIES, "NO_PROXY")), _KEY_LOG}
    for name in names & environment.keys():
        environment[name] = environment[name].strip()


def check_provider_access(environment: Mapping[str, str]) -> None:
    """Check what the way to a model's provider needs. Raises BadSettingsError."""
    for name in _both_cases(_PROXIES):
        if value := environment.get(name):
            _check_proxy(name, value)
    for name in _HEADERS:
        if not is_header(environment.get(name, "")):
            raise _refusal(name, "it has a character that no header can carry")
    for line in environment.get(_CUSTOM_HEADERS, "").split("\n"):
        if line.strip() and not _HEADER.fullmatch(line.strip()):
            raise _refusal(_CUSTOM_HEADERS, "each of its lines must be a header, as in `Name: value`")
    if path := environment.get("SSL_CERT_FILE"):
        _check_certificates("SSL_CERT_FILE", path)
    elif paths := environment.get("SSL_CERT_DIR"):
        _check_directories("SSL_CERT_DIR", paths)
    check_key_log(environment)


def check_key_log(environment: Mapping[str, str]) -> None:
    """Check the file to which TLS logs its keys. Raises BadSettingsError."""
    if path := environment.get(_KEY_LOG):
        try:
            Path(path).open("ab").close()
        except OSError as error:
            raise _refusal(_KEY_LOG, f"{path} cannot be written to ({_reason(error)})") from error


def check_tls_files(options: Mapping[str, str]) -> None:
    """Check the files that MIDSENTENCE_REDIS_URL names for TLS. Raises BadSettingsError."""
    variable = "MIDSENTENCE_REDIS_URL"
    if path := options.get("ssl_ca_certs"):
        _check_certificates(variable, path)
    if path := options.get("ssl_ca_path"):
        _check_directories(variable, path)
    certificate, key = (options.get(name) for name in _KEY_FILES)
    for path in (certificate, key):
        if path:
            _check_readable(variable, path)
    if certificate:
        try:
            # Without a password OpenSSL would ask for it at the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, options.get("ssl_password", ""))
        except (OSError, ValueError) as error:
            raise _refusal(
                variable, "its ssl_certfile, ssl_keyfile and ssl_password do not belong together, or are none"
            ) from error


def is_header(value: str) -> bool:
    """Whether a header can carry a value: a line end would end it, and a letter outside ASCII cannot be sent."""
    return value.isascii() and (value.isprintable() or not value)


def _check_proxy(name: str, value: str) -> None:
    # As curl does, the HTTP client takes an address without a scheme for one of http.
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise _refusal(name, "it has a host or a port that cannot be") from error
    if scheme not in _PROXY_SCHEMES:
        raise _refusal(name, f"it must begin with one of {', '.join(f'{each}://' for each in _PROXY_SCHEMES)}")
    if not host or port == 0 or not address.isprintable() or " " in address:
        raise _refusal(name, "it has a host or a port that cannot be")
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise _refusal(name, f"a proxy of {scheme}:// needs a further package: pip install socksio, or unset it")


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _refusal(name, f"{path} cannot be read ({_reason(error)})") from error


def _check_certificates(name: str, path: str) -> None:
    _check_readable(name, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise _refusal(name, f"{path} holds no certificate") from error


def _check_directories(name: str, paths: str) -> None:
    """`paths` are separated as in PATH; one with a certificate is enough."""
    reason = ""
    for path in paths.split(os.pathsep):
        try:
            if any(_HASHED.fullmatch(entry.name) for entry in Path(path).iterdir()):
                return
        except OSError as error:
            reason = f"{path} cannot be read ({_reason(error)})"
        else:
            reason = f"{path} holds no certificate under its hash, as `openssl rehash` names it"
    raise _refusal(name, reason)


def _both_cases(names: tuple[str, ...]) -> list[str]:
    return [each for name in names for each in (name, name.lower())]


def _reason(error: OSError) -> str:
    return (error.strerror or "no such file").lower()


def _refusal(name: str, reason: str) -> BadSettingsError:
    return BadSettingsError(f"{name} cannot be used: {reason}. See docs/operations.md.")
