"""How an endpoint is reached: by which proxy, and by whose certificates, as the environment says.

In: a URL and the variables of the environment. Out: the proxy's URL, or an SSL context. Desktops and clusters write
these variables in many forms; what cannot be used is one line that names the variable.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

import httpx

from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.policies.endpoint.settings import redacted_url

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""This machine's own servers, which no proxy of the environment leads to."""
_SCHEMES = {"http": "http", "https": "https", "socks": "socks5", "socks5": "socks5", "socks5h": "socks5h"}
"""How proxies are named (GNOME writes socks://), and how httpx takes them."""


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The proxy on the way to `url`; None: there is none.

    Raises:
        UserError: the variable that counts for this URL holds no proxy.
        MissingDependencyError: a SOCKS proxy needs a package that is not there.

    >>> proxy_for("https://host/v1", {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "localhost,[::1],fd00::/8"})
    'http://proxy:3128'
    >>> proxy_for("https://api.host/v1", {"ALL_PROXY": "http://proxy:3128", "NO_PROXY": ".host"}) is None
    True
    """
    environment = os.environ if environment is None else environment
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOCAL_NAMES:
        return None
    wanted = (f"{parts.scheme}_proxy", "all_proxy")
    # As curl and Python do: the name in lower case counts first.
    names = [form for name in wanted for form in (name, name.upper()) if environment.get(form, "").strip()]
    excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not names or _is_excluded(host, parts.port, excluded):
        return None
    variable = names[0]
    return _usable(environment[variable].strip(), variable)


def _usable(value: str, variable: str) -> str:
    full = value if "://" in value else f"http://{value}"
    try:
        proxy = urlsplit(full)
        is_usable = bool(proxy.hostname) and proxy.port != 0 and proxy.scheme.lower() in _SCHEMES
    except ValueError:
        proxy, is_usable = urlsplit(""), False
    if not is_usable:
        # Without what stands before an @: it may be a password.
        shown = value.rpartition("@")[2]
        raise UserError(
            f"environment variable {variable}={shown}: not a proxy that can be used; set it to a URL such as "
            "http://host:3128 or socks5://host:1080, or unset it"
        )
    scheme = _SCHEMES[proxy.scheme.lower()]
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise MissingDependencyError(
            f"environment variable {variable}={redacted_url(full)}: a SOCKS proxy needs the package socksio: "
            f"pip install 'turnmix[socks]', or unset {variable}"
        )
    return proxy._replace(scheme=scheme).geturl()


def _is_excluded(host: str, port: int | None, excluded: str) -> bool:
    """Is `host` in a NO_PROXY list? Names stand for what lies below them too; networks are taken with their bits."""
    for entry in excluded.replace(" ", ",").split(","):
        if not entry:
            continue
        if entry == "*" or _network_holds(entry, host):
            return True
        name, _, number = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        name = name.removeprefix("*").lstrip(".").lower()
        is_port_meant = not number or number == str(port)
        if name and is_port_meant and (host.lower() == name or host.lower().endswith(f".{name}")):
            return True
    return False


def _network_holds(entry: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(
            entry.replace("[", "").replace("]", ""), strict=False
        )
    except ValueError:
        return False


def certificates() -> ssl.SSLContext:
    """Whose signatures count: those of SSL_CERT_FILE or SSL_CERT_DIR, or the usual ones; for local names too.

    Raises:
        UserError: the variable names nothing that can be read.
    """
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(variable)
        if path and not os.path.exists(path):
            raise UserError(
                f"environment variable {variable}={path}: there is nothing; correct it, or unset it"
            )
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        path = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise UserError(
            f"environment variable SSL_CERT_FILE={path}: no certificates can be read from it ({error}); "
            "name a file of them, or unset it"
        ) from None
