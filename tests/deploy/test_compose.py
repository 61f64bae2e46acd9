"""docker-compose.yml, as docker-compose resolves it."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import pytest
import yaml

from midsentence.launcher.program import stop_seconds
from midsentence.settings import PREFIX, Settings
from tests.support.nginx import TEMPLATE, VARIABLE

pytestmark = pytest.mark.needs_docker_compose

ROOT = Path(__file__).parents[2]
OPENAI = {"OPENAI_API_KEY", "OPENAI_BASE_URL"}
Service = dict[str, Any]


def services(**environment: str) -> dict[str, Service]:
    """The services that docker-compose would start, in an environment without any other setting of midsentence."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "OPENAI_"))}
    # An empty file replaces a local .env; docker-compose 1 refuses /dev/null.
    with NamedTemporaryFile() as empty:
        command = ["docker-compose", "--env-file", empty.name, "-f", str(ROOT / "docker-compose.yml"), "config"]
        done = subprocess.run(command, env=environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return cast("dict[str, Service]", yaml.safe_load(done.stdout)["services"])


@pytest.fixture(scope="module", name="all_services")
def _all_services() -> dict[str, Service]:
    return services()


@pytest.fixture(name="ours")
def _ours(all_services: dict[str, Service]) -> dict[str, Service]:
    return {name: service for name, service in all_services.items() if "build" in service}


def seconds(duration: str) -> int:
    parts = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert parts, duration
    return int(parts[1] or 0) * 60 + int(parts[2] or 0)


def body_limit(service: Service) -> int | None:
    limit = service.get("environment", {}).get("MIDSENTENCE_MAX_BODY_BYTES")
    return None if limit is None else int(limit)


def test_services_are_nginx_two_servers_two_workers_and_valkey(all_services: dict[str, Service]) -> None:
    assert {"nginx", "server1", "server2", "valkey", "worker1", "worker2"} == set(all_services)


def test_every_service_has_a_health_check_and_restarts(all_services: dict[str, Service]) -> None:
    for name, service in all_services.items():
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert service["restart"] == "unless-stopped", name


def test_no_service_runs_as_root_or_can_gain_privileges(all_services: dict[str, Service]) -> None:
    for name, service in all_services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # The images that are built here set it themselves; tests/deploy/test_dockerfiles.py checks them.
        assert "build" in service or re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_only_nginx_publishes_a_port(all_services: dict[str, Service]) -> None:
    published = {name: service["ports"] for name, service in all_services.items() if "ports" in service}
    assert published == {"nginx": [{"published": 8000, "target": 8080}]}
    assert services(MIDSENTENCE_PORT="9123")["nginx"]["ports"] == [{"published": 9123, "target": 8080}]
    assert set(all_services["valkey"]["networks"]) == {"log"}


def test_nginx_passes_requests_to_every_server(all_services: dict[str, Service], ours: dict[str, Service]) -> None:
    listed = re.findall(
        r"^server (\S+):8000 resolve ", all_services["nginx"]["environment"]["MIDSENTENCE_NGINX_SERVERS"], re.MULTILINE
    )
    assert sorted(name for name in ours if name.startswith("server")) == sorted(listed)


def test_nginx_gets_every_variable_of_its_template(all_services: dict[str, Service]) -> None:
    """A missing variable would stay in the configuration unreplaced, and nginx would refuse to start."""
    nginx = all_services["nginx"]
    passed = {name for name in nginx["environment"] if name.startswith(nginx["environment"]["NGINX_ENVSUBST_FILTER"])}
    assert set(VARIABLE.findall(TEMPLATE.read_text())) == passed
    assert any(volume.startswith(f"{TEMPLATE}:") for volume in nginx["volumes"])


def test_nginx_and_the_servers_have_the_same_body_limit() -> None:
    for environment, expected in (
        ({}, Settings.model_fields["max_body_bytes"].default),
        ({"MIDSENTENCE_MAX_BODY_BYTES": "5"}, 5),
    ):
        limits = {
            name: limit
            for name, service in services(**environment).items()
            if (limit := body_limit(service)) is not None
        }
        assert limits == dict.fromkeys(["nginx", "server1", "server2"], expected)


def test_the_stop_grace_period_exceeds_the_drain(ours: dict[str, Service]) -> None:
    for name, service in ours.items():
        settings = Settings.model_validate({"drain_seconds": service["environment"]["MIDSENTENCE_DRAIN_SECONDS"]})
        assert seconds(service["stop_grace_period"]) > stop_seconds(settings), name


def test_every_variable_of_a_process_is_a_setting(ours: dict[str, Service]) -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields} | OPENAI
    passed = {name for service in ours.values() for name in service["environment"]}
    assert {"FORWARDED_ALLOW_IPS"} == passed - settings


def test_workers_get_every_setting_of_the_worker() -> None:
    names = ["OPENAI_API_KEY", "OPENAI_BASE_URL"] + [
        f"{PREFIX}{name}"
        for name in (
            *("MODEL", "SYSTEM_PROMPT", "CONTEXT_TOKENS", "MODEL_TIMEOUT_SECONDS", "WORKER_CONCURRENCY", "FLUSH_MS"),
            *("LEASE_SECONDS", "API", "TAKEOVER", "MAX_ATTEMPTS", "MODELS", "BREAKER_FAILURES", "BREAKER_SECONDS"),
            *("HEAL_ATTEMPTS", "HEAL_TOKENS", "HEAL_PAUSE_SECONDS", "TITLE_MODEL"),
        )
    ]
    configured = services(**{name: f"value of {name}" for name in names})
    for worker in ("worker1", "worker2"):
        assert {name: configured[worker]["environment"].get(name) for name in names} == {
            name: f"value of {name}" for name in names
        }


def test_servers_and_workers_get_the_same_namespace() -> None:
    configured = services(MIDSENTENCE_NAMESPACE="blue")
    names = {
        name: configured[name]["environment"].get("MIDSENTENCE_NAMESPACE")
        for name in configured
        if "build" in configured[name]
    }
    assert names == dict.fromkeys(["server1", "server2", "worker1", "worker2"], "blue")


def test_servers_and_workers_get_one_list_of_models(ours: dict[str, Service]) -> None:
    configured = services(MIDSENTENCE_MODELS="/etc/midsentence/models.toml")
    for name in ours:
        assert configured[name]["environment"]["MIDSENTENCE_MODELS"] == "/etc/midsentence/models.toml", name
        assert configured[name]["volumes"] == [f"{ROOT / 'deploy/models'}:/etc/midsentence:ro"], name


def test_only_workers_get_the_models_key() -> None:
    configured = services(OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="http://model/v1", MIDSENTENCE_SECRET="s" * 16)
    for name, service in configured.items():
        environment = service.get("environment", {})
        has_key = {environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL")} == {"sk-1", "http://model/v1"}
        assert has_key == name.startswith("worker"), name
        assert (environment.get("MIDSENTENCE_SECRET") == "s" * 16) == name.startswith("server"), name


def test_servers_offer_the_model_of_the_workers() -> None:
    configured = services(OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="http://model/v1", MIDSENTENCE_MODEL="large")
    for name in ("server1", "server2", "worker1", "worker2"):
        given = configured[name]["environment"].get("MIDSENTENCE_MODEL")
        assert Settings.model_validate({"model": given}).offered_models == ["large"], name


def test_no_server_gets_a_secret_of_the_models() -> None:
    secrets = {"OPENAI_API_KEY": "sk-very-secret", "OPENAI_BASE_URL": "http://me:password@model/v1?token=t0ken"}
    for name, service in services(**secrets, MIDSENTENCE_MODEL="large").items():
        shown = json.dumps(service)
        assert name.startswith("worker") or not re.search("sk-very-secret|password|t0ken", shown), name


def test_an_unset_variable_is_not_passed_as_an_empty_string(ours: dict[str, Service]) -> None:
    """The openai package would take an empty OPENAI_BASE_URL for an address."""
    assert "" not in {value for service in ours.values() for value in service["environment"].values()}


def test_valkey_keeps_the_log_over_a_restart_and_never_evicts(all_services: dict[str, Service]) -> None:
    valkey = all_services["valkey"]
    options = dict(zip(valkey["command"][1::2], valkey["command"][2::2], strict=True))
    assert tuple(options[name] for name in ("--appendonly", "--appendfsync", "--maxmemory-policy")) == (
        "yes",
        "everysec",
        "noeviction",
    )
    assert valkey["volumes"] == ["log:/data:rw"]


def test_each_service_runs_the_number_of_processes_that_is_asked_for() -> None:
    for environment, counts in (
        ({}, ["1", "1"]),
        ({"MIDSENTENCE_SERVER_PROCESSES": "2", "MIDSENTENCE_WORKER_PROCESSES": "auto"}, ["2", "auto"]),
    ):
        configured = services(**environment)
        for name, count in zip(("server", "worker"), counts, strict=True):
            for service in (configured[f"{name}1"], configured[f"{name}2"]):
                image = (ROOT / service["build"]["dockerfile"]).read_text()
                (command,) = re.findall(r"^CMD (.+)", image, re.MULTILINE)
                assert service["command"] == [*json.loads(command), "--processes", count]


def test_the_images_start_scripts_of_the_project(ours: dict[str, Service]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for service in ours.values():
        command = re.findall(r'^CMD \["([^"]+)"', (ROOT / service["build"]["dockerfile"]).read_text(), re.MULTILINE)
        assert command[0] in scripts
