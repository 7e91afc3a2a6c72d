"""One class of tests over every key provider: files, a stand-in of Vault's Transit engine, and AWS KMS as moto has it.

What only one provider does (rotation of its root, its failures) is below.
"""

import base64
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from schemas.errors import ConfigurationError, KeyProviderAway, SaysoError
from services.keys import ControllerKeys, KeyProvider, check_provider, make_secret, open_provider, write_secret
from services.keys.aws_provider import AwsKmsProvider
from services.keys.root_rotation import rewrap_all, rotate_root
from services.keys.vault_provider import VaultProvider
from services.observability import configure_logging, describe, get_logger
from tests.support import kms, vault

pytestmark = pytest.mark.contract

TOKEN = "hvs.canary-token-that-no-message-may-hold"
KEY = bytes(range(32))


@dataclass(frozen=True)
class Settings:
    """Those of a process; `root_key_file` only for files, `vault_token_file` only for Vault."""

    key_provider: str
    root_key_file: Path | None = None
    vault_token_file: Path | None = None


@dataclass
class Place:
    """Where a provider's keys are. `open` opens it as a new process would; `another` is one with another root."""

    kind: str
    open: Callable[[], KeyProvider]
    another: Callable[[], KeyProvider]


@pytest.fixture(scope="module")
def transit() -> Iterator[vault.Transit]:
    with vault.serving(TOKEN) as transit:
        yield transit


@pytest.fixture(scope="module")
def key_management_service() -> Iterator[Callable[[], str]]:
    """Makes a wrapping key, as an operator would; its id."""
    with kms.serving() as endpoint:
        client = get_session().create_client("kms", endpoint_url=endpoint)
        yield lambda: client.create_key()["KeyMetadata"]["KeyId"]


def token_file(directory: Path, token: str = TOKEN) -> Path:
    path = directory / "token"
    path.touch(0o600)
    path.write_text(f"{token}\n")
    return path


@pytest.fixture(params=["file", "vault", "aws"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "file":
        make_secret(tmp_path / "root.key")
        make_secret(tmp_path / "other" / "root.key")
        settings = Settings("file:", tmp_path / "root.key")
        others = Settings("file:", tmp_path / "other" / "root.key")
        yield Place("file", lambda: open_provider(settings, tmp_path / "ledger"), lambda: open_provider(others))
    elif request.param == "vault":
        transit: vault.Transit = request.getfixturevalue("transit")
        settings = Settings(f"vault://{transit.address}/transit", vault_token_file=token_file(tmp_path))
        with vault.serving(TOKEN) as other:
            others = Settings(f"vault://{other.address}/transit", vault_token_file=settings.vault_token_file)
            yield Place("vault", lambda: open_provider(settings), lambda: open_provider(others))
    else:
        make_key: Callable[[], str] = request.getfixturevalue("key_management_service")
        settings = Settings(f"aws-kms:{make_key()}")
        yield Place("aws", lambda: open_provider(settings), lambda: open_provider(Settings(f"aws-kms:{make_key()}")))


class TestEveryProvider:
    """The guarantees of services.keys.provider.KeyProvider."""

    def test_another_process_unwraps_what_one_has_wrapped(self, place: Place) -> None:
        blob = place.open().wrap("shop/epoch-1.key", KEY)
        assert KEY not in blob
        assert place.open().unwrap("shop/epoch-1.key", blob) == KEY

    def test_another_root_is_an_error_and_never_a_wrong_key(self, place: Place) -> None:
        with pytest.raises(ConfigurationError, match=r"root key|refuses"):
            place.open().unwrap("shop/epoch-1.key", place.another().wrap("shop/epoch-1.key", KEY))

    def test_changed_bytes_are_an_error(self, place: Place) -> None:
        provider = place.open()
        blob = provider.wrap("shop/epoch-1.key", KEY)
        for changed in (b"", blob[:-1], blob[:-1] + bytes([blob[-1] ^ 1]), blob + b"\0", bytes(40)):
            with pytest.raises(ConfigurationError):
                provider.unwrap("shop/epoch-1.key", changed)

    def test_a_signing_key_is_the_same_for_every_process(self, place: Place) -> None:
        provider, another_process = place.open(), place.open()
        reference = provider.create_signing_key("shop.2")
        assert another_process.create_signing_key("shop.2") == reference
        assert another_process.create_signing_key("shop-2") != reference
        public_key = another_process.public_key(reference)
        for message in (b"log.example/logs/shop\n7\nAAAA\n", os.urandom(4096)):
            signature = provider.sign(reference, message)
            assert len(signature) == 64
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)

    def test_a_destroyed_key_signs_nothing(self, place: Place) -> None:
        provider = place.open()
        reference = provider.create_signing_key("ended")
        provider.destroy_signing_key(reference)
        with pytest.raises(ConfigurationError):
            provider.sign(reference, b"text\n")
        provider.destroy_signing_key(reference)

    def test_a_key_held_elsewhere_is_refused(self, place: Place) -> None:
        provider = place.open()
        elsewhere = "aws-kms:arn:aws:kms:::key/1" if place.kind == "vault" else "vault:sayso-log-shop"
        with pytest.raises(ConfigurationError, match="does not hold"):
            provider.public_key(elsewhere)
        with pytest.raises(ConfigurationError, match="does not hold"):
            provider.sign(elsewhere, b"text\n")
        with pytest.raises(ConfigurationError, match="does not hold"):
            provider.destroy_signing_key(elsewhere)

    def test_the_check_passes(self, place: Place) -> None:
        check_provider(place.open())

    def test_controller_keys_live_in_files_that_hold_no_key(self, place: Place, tmp_path: Path) -> None:
        keys = ControllerKeys(tmp_path / "controllers", place.open())
        key = keys.create_wrapping_key("shop", 7)
        assert key not in (tmp_path / "controllers" / "shop" / "epoch-7.key").read_bytes()
        assert ControllerKeys(tmp_path / "controllers", place.open()).wrapping_key("shop", 7) == key

    def test_keys_move_to_another_provider(self, place: Place, tmp_path: Path) -> None:
        keys = ControllerKeys(tmp_path / "controllers", place.open())
        wanted = [keys.create_wrapping_key("shop", 7), keys.create_identifier_key("shop")]
        another = place.another()
        assert len(rewrap_all(tmp_path / "controllers", place.open(), another, lambda _: None)) == 2
        moved = ControllerKeys(tmp_path / "controllers", another)
        assert [moved.wrapping_key("shop", 7), moved.identifier_key("shop")] == wanted
        with pytest.raises(ConfigurationError):
            ControllerKeys(tmp_path / "controllers", place.open()).wrapping_key("shop", 7)


# --- rotation of the root -------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


class Crashes:
    """Counts the steps that make something durable, and dies before the one of this number."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self._left = at
        self.happened = False
        for target, name in ((os, "link"), (os, "fsync"), (Path, "replace")):
            patch.setattr(target, name, self._step(getattr(target, name)))

    def _step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.happened = True
                raise Crash
            return real(*args)

        return step


def all_keys(directory: Path, provider: KeyProvider) -> list[bytes]:
    keys = ControllerKeys(directory, provider)
    return [keys.wrapping_key("shop", epoch) for epoch in range(3)] + [keys.identifier_key("shop")]


@pytest.mark.parametrize("kind", ["file", "vault"])
def test_a_rotation_goes_on_after_a_crash_at_any_point(
    kind: str, tmp_path: Path, transit: vault.Transit, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        Settings("file:", tmp_path / "root.key")
        if kind == "file"
        else Settings(f"vault://{transit.address}/transit", vault_token_file=token_file(tmp_path))
    )
    make_secret(tmp_path / "root.key")
    directory = tmp_path / "controllers"
    keys = ControllerKeys(directory, open_provider(settings))
    wanted = [keys.create_wrapping_key("shop", epoch) for epoch in range(3)] + [keys.create_identifier_key("shop")]
    service = open_provider(settings)
    for at in range(1, 100):
        old_root = (tmp_path / "root.key").read_bytes()
        before = (directory / "shop" / "epoch-0.key").read_bytes()
        with monkeypatch.context() as patch:
            crashes = Crashes(patch, at)
            try:
                rotate_root(directory, open_provider(settings), lambda _: None)
            except Crash:
                assert all_keys(directory, service) == wanted
        rotate_root(directory, open_provider(settings), lambda _: None)
        assert all_keys(directory, service) == all_keys(directory, open_provider(settings)) == wanted
        assert not list(tmp_path.glob("*root.key?*"))
        if kind == "file":
            (tmp_path / "old.key").unlink(missing_ok=True)
            make_old(tmp_path / "old.key", old_root)
            with pytest.raises(ConfigurationError, match="another root key"):
                all_keys(directory, open_provider(Settings("file:", tmp_path / "old.key")))
        with pytest.raises(ConfigurationError):
            service.unwrap("shop/epoch-0.key", before)
        if not crashes.happened:
            return
    raise AssertionError("more than 99 durable steps")


def make_old(path: Path, secret: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(secret)


def test_services_read_and_make_keys_while_the_root_rotates(tmp_path: Path) -> None:
    make_secret(tmp_path / "root.key")
    settings = Settings("file:", tmp_path / "root.key")
    directory = tmp_path / "controllers"
    keys = ControllerKeys(directory, open_provider(settings))
    wanted = {epoch: keys.create_wrapping_key("shop", epoch) for epoch in range(20)}
    stop = threading.Event()

    def serve(first: int) -> int:
        done = 0
        while not stop.is_set():
            mine = ControllerKeys(directory, open_provider(settings))
            made = mine.create_wrapping_key("shop", first + done % 30)
            assert ControllerKeys(directory, open_provider(settings)).wrapping_key("shop", first + done % 30) == made
            assert mine.wrapping_key("shop", done % 20) == wanted[done % 20]
            done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        serving = [pool.submit(serve, first) for first in (1000, 2000)]
        try:
            for _ in range(5):
                rotate_root(directory, open_provider(settings), lambda _: None)
        finally:
            stop.set()
        assert all(future.result() > 0 for future in serving)
    final = ControllerKeys(directory, open_provider(settings))
    assert {epoch: final.wrapping_key("shop", epoch) for epoch in wanted} == wanted
    for epoch in final.epochs("shop"):
        final.wrapping_key("shop", epoch)


def test_no_root_is_destroyed_while_a_key_is_being_written_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_secret(tmp_path / "root.key")
    settings = Settings("file:", tmp_path / "root.key")
    directory = tmp_path / "controllers"
    wrapped, go_on = threading.Event(), threading.Event()

    def slow(path: Path, secret: bytes) -> bool:
        wrapped.set()
        assert go_on.wait(10)
        return write_secret(path, secret)

    monkeypatch.setattr("services.keys.controller_keys.write_secret", slow)
    with ThreadPoolExecutor(2) as pool:
        creating = pool.submit(ControllerKeys(directory, open_provider(settings)).create_wrapping_key, "shop", 1)
        assert wrapped.wait(10)
        rotating = pool.submit(rotate_root, directory, open_provider(settings), lambda _: None)
        try:
            with pytest.raises(TimeoutError):
                rotating.result(0.3)
        finally:
            go_on.set()
        rotating.result(10)
        assert ControllerKeys(directory, open_provider(settings)).wrapping_key("shop", 1) == creating.result(10)


def test_a_key_destroyed_while_the_root_rotates_stays_destroyed(tmp_path: Path) -> None:
    make_secret(tmp_path / "root.key")
    directory = tmp_path / "controllers"
    provider = open_provider(Settings("file:", tmp_path / "root.key"))
    keys = ControllerKeys(directory, provider)
    keys.create_wrapping_key("shop", 0)
    keys.create_wrapping_key("shop", 1)
    rotate_root(directory, provider, lambda done: keys.destroy_wrapping_key("shop", 1) if done == 1 else None)
    assert keys.epochs("shop") == [0]


def test_kms_says_that_its_material_cannot_be_destroyed(
    key_management_service: Callable[[], str], tmp_path: Path
) -> None:
    provider = open_provider(Settings(f"aws-kms:{key_management_service()}"))
    with pytest.raises(ConfigurationError, match="--to"):
        rotate_root(tmp_path, provider, lambda _: None)


def test_blobs_of_a_deployment_without_providers_still_open(tmp_path: Path) -> None:
    root = make_secret(tmp_path / "root.key")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "epoch-7.key").write_bytes(aes_key_wrap(root, KEY))
    provider = open_provider(Settings("file:", tmp_path / "root.key"))
    assert ControllerKeys(tmp_path, provider).wrapping_key("shop", 7) == KEY


# --- failures -------------------------------------------------------------------------------------------------


def said_of(act: Callable[[], Any], expected: type[SaysoError], capsys: pytest.CaptureFixture[str]) -> str:
    """Everything that a person could read of a failure: the message, the traceback, and the log line."""
    configure_logging("test")
    with pytest.raises(expected) as caught:
        act()
    get_logger().error("failed", **describe(caught.value))
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value) + capsys.readouterr().out


REFUSALS = [(400, ConfigurationError), (403, ConfigurationError), (404, ConfigurationError), (429, KeyProviderAway)]
REFUSALS += [(500, KeyProviderAway), (503, KeyProviderAway)]


@pytest.mark.parametrize(("status", "expected"), REFUSALS)
def test_no_refusal_of_vault_shows_a_secret(
    status: int,
    expected: type[SaysoError],
    transit: vault.Transit,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = open_provider(Settings(f"vault://{transit.address}/transit", vault_token_file=token_file(tmp_path)))
    blob = provider.wrap("shop/epoch-1.key", KEY)
    echo = f"{TOKEN} {base64.b64encode(KEY).decode()}".encode()
    monkeypatch.setattr(transit, "refuse_with", (status, echo))
    for act in (lambda: provider.wrap("n", KEY), lambda: provider.unwrap("n", blob), lambda: provider.sign(SIGNS, KEY)):
        said = said_of(act, expected, capsys)
        assert str(status) in said
        assert_silent(said)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"data": 1}', b'{"data": {"plaintext": "%%", "ciphertext": 7}}']
)
def test_an_answer_that_transit_never_gives_is_no_key(
    answer: bytes, transit: vault.Transit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = open_provider(Settings(f"vault://{transit.address}/transit", vault_token_file=token_file(tmp_path)))
    blob = provider.wrap("shop/epoch-1.key", KEY)
    monkeypatch.setattr(transit, "refuse_with", (200, answer))
    with pytest.raises(KeyProviderAway, match="what Transit does not"):
        provider.wrap("n", KEY)
    with pytest.raises(KeyProviderAway, match="what Transit does not"):
        provider.unwrap("n", blob)
    with pytest.raises(KeyProviderAway, match="what Transit does not"):
        provider.sign(SIGNS, KEY)


def assert_silent(said: str) -> None:
    for secret in (TOKEN, KEY.hex(), base64.b64encode(KEY).decode(), repr(KEY), repr(KEY)[2:-1]):
        assert secret not in said


SIGNS = "vault:sayso-log-shop"


def test_a_provider_that_is_away_or_silent_says_so_in_time(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key_management_service: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        provider = VaultProvider(f"vault://127.0.0.1:{port}/transit", token_file(tmp_path), timeout_s=0.2)
        assert_silent(said_of(lambda: provider.wrap("n", KEY), KeyProviderAway, capsys))
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{port}")
        service = AwsKmsProvider("aws-kms:alias/sayso", timeout_s=0.2)
        assert_silent(said_of(lambda: service.wrap("n", KEY), KeyProviderAway, capsys))
    # Now nobody listens.
    assert_silent(said_of(lambda: provider.wrap("n", KEY), KeyProviderAway, capsys))
    assert_silent(said_of(lambda: service.wrap("n", KEY), KeyProviderAway, capsys))
    assert_silent(said_of(lambda: check_provider(service), ConfigurationError, capsys))


def test_a_refusal_of_kms_shows_no_secret(
    key_management_service: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    provider = open_provider(Settings("aws-kms:alias/not-there"))
    said = said_of(lambda: provider.wrap("n", KEY), ConfigurationError, capsys)
    assert "NotFoundException" in said
    assert_silent(said)
    assert_silent(said_of(lambda: provider.unwrap("n", KEY), ConfigurationError, capsys))


def test_the_token_is_renewed_by_replacing_its_file(transit: vault.Transit, tmp_path: Path) -> None:
    path = token_file(tmp_path, "expired")
    provider = open_provider(Settings(f"vault://{transit.address}/transit", vault_token_file=path))
    with pytest.raises(ConfigurationError, match="403"):
        provider.wrap("n", KEY)
    path.write_text(TOKEN)
    assert provider.unwrap("n", provider.wrap("n", KEY)) == KEY


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings("file:"), "SAYSO_ROOT_KEY_FILE is not set"),
        (Settings("file:", Path("/nowhere/root.key")), "cannot read the key file"),
        (Settings("vault://127.0.0.1:8200/transit"), "SAYSO_VAULT_TOKEN_FILE is not set"),
        (Settings("vault://127.0.0.1:8200", vault_token_file=Path("/nowhere")), "vault://HOST:PORT/MOUNT"),
        (Settings("vault://h:8200/transit", vault_token_file=Path("/nowhere")), "cannot read the token file"),
        (Settings("aws-kms:"), "ALIAS-OR-KEY-ID"),
        (Settings("hsm:1"), "SAYSO_KEY_PROVIDER is none of"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings: Settings, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        open_provider(settings)


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = token_file(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        open_provider(Settings("vault://127.0.0.1:8200/transit", vault_token_file=path))
    assert_silent(str(caught.value))
