"""Tokens and TLS, from Secrets that exist."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.cluster.kube import RELEASE, Namespace, run
from tests.cluster.load import PICTURE

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def certificate(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of the gateway's names, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    names = f"DNS:{RELEASE}-gateway.{namespace.name}.svc.cluster.local,DNS:localhost,IP:127.0.0.1"
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gateway"),
        *("-addext", f"subjectAltName={names}", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"),
    )
    return folder / "tls.crt"


@pytest.fixture(scope="module")
def release(namespace: Namespace, certificate: Path) -> Namespace:
    key = certificate.with_suffix(".key")
    tls = {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes()}
    namespace.secret("gateway-tls", tls, "kubernetes.io/tls")
    namespace.secret("gateway-tokens", {"tokens": TOKEN.encode()})
    namespace.install(
        {"gateway": {"auth": {"existingSecret": "gateway-tokens"}, "tls": {"existingSecret": "gateway-tls"}}}
    )
    return namespace


def test_helm_test_uses_both(release: Namespace) -> None:
    assert "Succeeded" in release.helm("test", RELEASE)


@pytest.mark.parametrize(
    ("token", "status"), [(TOKEN, 200), ("another", 401), ("", 401)], ids=["right", "wrong", "none"]
)
def test_a_token_is_asked_for(release: Namespace, certificate: Path, token: str, status: int) -> None:
    headers = {"Content-Type": "image/png", **({"Authorization": f"Bearer {token}"} if token else {})}
    with release.forward(f"service/{RELEASE}-gateway", 8081) as (http,):
        url = f"https://127.0.0.1:{http}/embed"
        answer = requests.post(url, PICTURE.read_bytes(), headers=headers, verify=str(certificate), timeout=60)
    assert answer.status_code == status
    assert ("embedding" in answer.json()) is (status == 200)


def test_without_tls_nobody_answers(release: Namespace) -> None:
    with release.forward(f"service/{RELEASE}-gateway", 8081) as (http,), pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{http}/healthz", timeout=10)
