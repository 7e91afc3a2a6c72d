"""AWS KMS for tests: moto's HTTP server, to which the Ed25519 keys are added that it does not have (moto 5.2).

Encrypt, decrypt, aliases and states are moto's own; only making and using ECC_NIST_EDWARDS25519 keys is ours, and that
a key which waits for its deletion signs nothing, as KMS documents it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import moto.kms.models as moto_kms
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from moto.core.exceptions import JsonRESTError
from moto.kms.utils import AbstractPrivateKey, KeySpec, generate_private_key, validate_signing_algorithm
from moto.server import ThreadedMotoServer
from pytest import MonkeyPatch  # noqa: PT013 - the class, not a fixture

SPEC, ALGORITHM = "ECC_NIST_EDWARDS25519", "ED25519_SHA_512"


class _Ed25519(AbstractPrivateKey):
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def sign(self, message: bytes, signing_algorithm: str) -> bytes:
        validate_signing_algorithm(signing_algorithm, [ALGORITHM])
        return self._key.sign(message)

    def verify(self, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
        raise NotImplementedError  # nothing of ours asks KMS to verify

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def _learn_ed25519(patch: MonkeyPatch) -> None:
    make, specs, algorithms = generate_private_key, KeySpec.key_specs(), moto_kms.Key.signing_algorithms
    patch.setattr(moto_kms, "generate_private_key", lambda spec: _Ed25519() if spec == SPEC else make(spec))
    patch.setattr(KeySpec, "key_specs", classmethod(lambda _: sorted([*specs, SPEC])))
    assert isinstance(algorithms, property)
    known = algorithms.fget
    assert known is not None
    patch.setattr(
        moto_kms.Key, "signing_algorithms", property(lambda key: [ALGORITHM] if key.key_spec == SPEC else known(key))
    )


def _refuse_pending(patch: MonkeyPatch) -> None:
    sign = moto_kms.KmsBackend.sign

    def checked(backend: moto_kms.KmsBackend, key_id: str, **asked: Any) -> Any:
        if backend.describe_key(key_id).key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", f"{key_id} is pending deletion.")
        return sign(backend, key_id, **asked)

    patch.setattr(moto_kms.KmsBackend, "sign", checked)


@contextmanager
def serving() -> Iterator[str]:
    """A running KMS; yields its endpoint. The environment names it and holds credentials meanwhile."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with MonkeyPatch.context() as patch:
        _learn_ed25519(patch)
        _refuse_pending(patch)
        patch.setenv("AWS_ENDPOINT_URL_KMS", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()
