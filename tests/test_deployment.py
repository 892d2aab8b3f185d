"""What docker-compose.yml and the Dockerfile promise; each service's very command, run.

`tests/image.py` says what cannot be shown without a container engine.
"""

from __future__ import annotations

import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import image, postgres_copies, tools
from tests.image import Image
from tests.tools import needs

COMPOSE = image.compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BROKER = [
    name for name, each in SERVICES.items() if each.get("build", {}).get("target") == "broker"
]
ONCE = [name for name, each in SERVICES.items() if each["restart"] == "no"]
PINNED = re.compile(r"\A[\w./-]+:\d+\.\d+(\.\d+)?-[\w-]+\Z")
# What is set otherwise, or means nothing in the image.
NOT_OF_COMPOSE = {
    "DEBUG",
    "DEMO",
    "DICOM_BIND",
    "DICOM_PORT",
    "DATABASE_REPLICA_URL",
    "DATABASE_REPLICA_LAG",
    "DICOM_WORKERS",
    # Set while a key is changed (docs/upgrade.md).
    "SECRET_KEY_FALLBACKS",
}
# The image's packages may come from their index first.
pytestmark = pytest.mark.timeout(400)


def each_service() -> Any:
    return pytest.mark.parametrize("name", SERVICES)


# --- what the files promise -----------------------------------------------------------------------


def test_every_image_is_pinned_to_a_version() -> None:
    bases = [stage[0].text.split(" AS ")[0] for stage in image.stages().values()]
    images = [each["image"] for each in SERVICES.values() if "build" not in each]
    assert [each for each in (*bases, *images) if not PINNED.match(each)] == []
    assert [name for name, each in SERVICES.items() if ":latest" in each["image"]] == []


@each_service()
def test_a_service_can_change_nothing_but_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) in ([], ["NET_BIND_SERVICE"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    mounted = [volume for volume in service.get("volumes", ()) if volume.startswith(("/", "."))]
    assert [volume for volume in mounted if not volume.endswith(":ro")] == []
    assert service["tmpfs"]


@each_service()
def test_nothing_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert image.of(service["build"]["target"], "USER")[-1].text == "10001"
    else:
        assert service["user"] == "postgres"


@each_service()
def test_what_runs_on_comes_back_ends_in_order_and_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    if name in ONCE:
        assert service["healthcheck"] == {"disable": True}
        return
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service
    # The sender of the trail is watched by what it has sent: the page Status, alerts.yml.
    assert name == "audit" or service["healthcheck"]["test"][0] == "CMD"


def test_secrets_are_files_and_stand_in_no_environment() -> None:
    assert all(
        secret["file"].startswith("./var/secrets/") for secret in COMPOSE["secrets"].values()
    )
    for name, service in SERVICES.items():
        for variable, value in service["environment"].items():
            is_secret = re.search(r"SECRET|PASSWORD|DATABASE_URL|AUDIT_KEY", variable)
            if is_secret:
                assert variable.endswith("_FILE"), (name, variable)
                assert str(value).removeprefix("/run/secrets/") in service["secrets"]


def test_postgresql_is_reached_by_the_broker_alone() -> None:
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert SERVICES["db"]["networks"] == ["database"]
    assert "database" not in SERVICES["proxy"]["networks"]
    assert {name for name, each in SERVICES.items() if "ports" in each} == {"scp", "proxy"}


def test_tables_are_brought_up_to_date_once_before_what_reads_them() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    first = {"migrate": {"condition": "service_completed_successfully"}}
    assert [SERVICES[name]["depends_on"] for name in ("web", "scp", "audit")] == [first] * 3


def test_every_volume_is_named_and_used() -> None:
    used = [volume for each in SERVICES.values() for volume in each.get("volumes", ())]
    assert {volume.partition(":")[0] for volume in used if volume[0] not in "./"} == set(
        COMPOSE["volumes"]
    )


def test_every_setting_reaches_the_services() -> None:
    given = {name.removesuffix("_FILE") for name in SERVICES["web"]["environment"]}
    assert set(image.settings_names()) - given == NOT_OF_COMPOSE & set(image.settings_names())
    example = (image.ROOT / ".env.example").read_text("utf-8")
    text = (image.ROOT / "docker-compose.yml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert [name for name in sorted(asked) if not re.search(rf"^#?{name}=", example, re.M)] == []


def test_the_shipped_settings_are_fit_for_production(tmp_path: Path) -> None:
    for name, text in (("secret_key", secrets.token_urlsafe(64)), ("audit_key", "a" * 64)):
        (tmp_path / name).write_text(text)
    (tmp_path / "database_url").write_text(f"sqlite:///{tmp_path}/worklist.sqlite3")
    for name in ("web", "scp"):
        given = {
            variable: str(value).replace("/run/secrets", str(tmp_path))
            for variable, value in SERVICES[name]["environment"].items()
        }
        checked = subprocess.run(
            [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
            cwd=image.ROOT,
            env={"PATH": "/usr/bin:/bin", **given},
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stderr


@needs("compose")
def test_docker_compose_reads_the_file_as_these_tests_do(tmp_path: Path) -> None:
    """Its own reader, without an engine: secrets and folders are looked for, nothing is started."""
    settings = {"SITE_ADDRESS": "worklist.example.org", "DICOM_PORT": "104"}
    copy = tmp_path / "docker-compose.yml"
    copy.write_text((image.ROOT / "docker-compose.yml").read_text("utf-8"))
    read = subprocess.run(
        [str(tools.compose()), "--profile", "audit", "--profile", "daily", "config"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **settings},
        capture_output=True,
        text=True,
    )
    assert read.returncode == 0, read.stderr
    theirs, ours = yaml.safe_load(read.stdout)["services"], image.compose(settings)["services"]
    assert theirs.keys() == ours.keys()
    for name, service in ours.items():
        given = {key: str(value) for key, value in theirs[name]["environment"].items()}
        assert given == {key: str(value) for key, value in service["environment"].items()}
        for part in ("command", "cap_drop", "security_opt", "read_only", "restart", "user"):
            assert theirs[name].get(part) == service.get(part), (name, part)


# --- the image, built and run ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return image.build("broker", tmp_path_factory.mktemp("image"))


def test_the_image_holds_what_runs_and_nothing_else(broker: Image) -> None:
    files = broker.files()
    assert [file for file in files if "pynetdicom/apps" in file] == []
    assert [file for file in files if re.match(r"app/(tests|var/(?!static)|\.|docs)", file)] == []
    assert "app/locale/de/LC_MESSAGES/django.mo" in files
    assert "app/var/static/staticfiles.json" in files
    # Development's packages are not among them, nor is pip.
    for package in ("pytest", "mypy", "playwright", "pip"):
        assert [file for file in files if f"site-packages/{package}/" in file] == []


class Running:
    """Services of the Compose file on a database and on ports of the test's own."""

    def __init__(self, broker: Image, folder: Path, url: str) -> None:
        self.image, self.secrets = broker, folder / "secrets"
        self.secrets.mkdir()
        (self.secrets / "secret_key").write_text("s" * 64)
        (self.secrets / "audit_key").write_text("a" * 64)
        (self.secrets / "database_url").write_text(url)
        self.ports = {"8000": free_port(), "11112": free_port()}
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, name: str, words: list[str] | None = None, *, settings: Mapping[str, str] = {}
    ) -> subprocess.Popen[str]:
        service = image.compose(settings)["services"][name]
        words = words or image.command(service)
        program = Path(self.image.root, "venv/bin", words[0])
        process = subprocess.Popen(
            [str(program), *(self._with_our_ports(word) for word in words[1:])],
            cwd=self.image.root / "app",
            env=image.environment(self.image, service, self.secrets),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def _with_our_ports(self, word: str) -> str:
        return re.sub(r"\b(8000|11112)\b", lambda port: str(self.ports[port[0]]), word)

    def succeeds(self, name: str) -> str:
        process = self.start(name)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def becomes_healthy(self, name: str) -> str:
        """Ask as Docker does until it says that it is well."""
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if words[-1] == "--web":
            words.append("http://127.0.0.1:8000")
        deadline = time.monotonic() + 60
        while True:
            process = self.start(name, words)
            said, _ = process.communicate(timeout=30)
            if process.returncode == 0:
                return said
            assert time.monotonic() < deadline, said

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def running(db: None, broker: Image, tmp_path: Path) -> Iterator[Running]:
    with postgres_copies.empty() as url:
        services = Running(broker, tmp_path, url)
        yield services
        services.end()


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


@needs("postgres")
def test_each_service_runs_by_its_very_command_and_writes_nothing_into_its_image(
    running: Running,
) -> None:
    before = running.image.files()
    assert "Applying worklist.0001_initial... OK" in running.succeeds("migrate")
    # A second start of all: nothing is left to do.
    assert "No migrations to apply." in running.succeeds("migrate")
    servers = {name: running.start(name) for name in ("web", "scp")}
    assert "is ready" in running.becomes_healthy("web")
    assert "answers C-ECHO" in running.becomes_healthy("scp")
    assert "deleted" in running.succeeds("purge")
    for name, process in servers.items():
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=seconds(SERVICES[name]["stop_grace_period"]))
        assert process.returncode == 0, said
        assert running.secrets.joinpath("database_url").read_text() not in said
    assert running.image.files() == before


@needs("postgres")
def test_the_web_does_not_take_itself_for_well_without_its_tables(running: Running) -> None:
    running.start("web")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        asked = running.start(
            "web", ["python", "manage.py", "healthcheck", "--web", "http://127.0.0.1:8000"]
        )
        said, _ = asked.communicate(timeout=30)
        assert asked.returncode != 0
        if "503" in said:
            assert "migrate" in said
            return
    pytest.fail(said)


@pytest.mark.django_db(transaction=True)
def test_the_sender_of_the_trail_ends_when_it_is_told_to(broker: Image, tmp_path: Path) -> None:
    services = Running(broker, tmp_path, tools.database_url())
    nobody = {"AUDIT_SYSLOG_HOST": "127.0.0.1", "AUDIT_SYSLOG_PORT": str(free_port())}
    sender = services.start("audit", settings=nobody)
    try:
        assert sender.stdout is not None
        assert "127.0.0.1" in sender.stdout.readline()
        sender.send_signal(signal.SIGTERM)
        sender.communicate(timeout=seconds(SERVICES["audit"]["stop_grace_period"]))
        assert sender.returncode == 0
    finally:
        services.end()
