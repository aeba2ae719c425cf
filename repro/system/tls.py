"""One TLS context per process: loading the machine's certificates takes longer than most requests."""

import functools
import ssl


@functools.cache
def tls_context(*, trust_env: bool = True) -> ssl.SSLContext:
    """Return the context that httpx2 would otherwise create for every client.

    Args:
        trust_env: use the certificates named by SSL_CERT_FILE or SSL_CERT_DIR.
    """
    import httpx2

    return httpx2.create_ssl_context(trust_env=trust_env)
