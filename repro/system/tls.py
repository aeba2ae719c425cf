"""One TLS context for all requests of a process: reading the machine's certificates takes longer than most requests."""

import functools
import ssl


@functools.cache
def tls_context(*, trust_env: bool = True) -> ssl.SSLContext:
    """Return the context that httpx2 would make anew for every client.

    Args:
        trust_env: read the certificates that SSL_CERT_FILE or SSL_CERT_DIR names.
    """
    import httpx2

    return httpx2.create_ssl_context(trust_env=trust_env)
