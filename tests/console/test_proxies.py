"""The recipes of docs/console.md, as they are there, with real proxies and a certificate."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import http.client
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests import REPOSITORY
from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.console import HOST, PASSWORD, Answer, Browser
from tests.lab.host import Host

NAME = "imports.example.org"
ELSEWHERE = "127.0.0.7"  # another address of this host
SOCKET = "/run/rosterd-console/console.sock"
LOG = "/run/console.log"
ROSTERD = (sys.executable, "-m", "operate.cli")
CONSOLE = ("setpriv", "--reuid=rosterd-console", "--regid=rosterd-console", "--init-groups", "--no-new-privs")
CADDY = (
    "--reuid=caddy",
    "--regid=caddy",
    "--init-groups",
    *(f"--{which}-caps=+net_bind_service" for which in ("inh", "ambient")),
)
DOCUMENT = (REPOSITORY / "docs/console.md").read_text()
OWN_CERTIFICATE = "tls /etc/ssl/imports.pem /etc/ssl/private/imports.key"


def recipe(after: str) -> str:
    """Return the first block of code after these words of the document."""
    found = re.search(r"```\w*\n(.*?)```", DOCUMENT[DOCUMENT.index(after) :], re.DOTALL)
    assert found, after
    return found[1]


def instead(text: str, old: str, new: str) -> str:
    """Return a recipe with what the document says in place of something."""
    assert old in text
    assert new in DOCUMENT
    return text.replace(old, new)


SETTINGS = recipe("Set the address that browsers use")
NGINX = recipe("\nnginx, in")
CADDYFILE = recipe("\nCaddy, in")
PLACES = {
    "address": (SETTINGS, NGINX, CADDYFILE),
    "path": (
        instead(SETTINGS, '"127.0.0.1:9189"', f'"{SOCKET}"'),
        instead(NGINX, "http://127.0.0.1:9189", f"http://unix:{SOCKET}:"),
        instead(CADDYFILE, "reverse_proxy 127.0.0.1:9189", f"reverse_proxy unix/{SOCKET}"),
    ),
}


class Proxied(Browser):
    """A browser that asks for the page by its name, from another address of this host."""

    def __init__(self, trusted: Path, *, password: str = "") -> None:
        super().__init__(443)
        self._context = ssl.create_default_context(cafile=str(trusted))
        self._login = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"} if password else {}

    def connected(self) -> http.client.HTTPConnection:
        """Return a connection for one request."""
        connection = http.client.HTTPSConnection(NAME, context=self._context)
        plain = socket.create_connection((HOST, 443), timeout=60, source_address=(ELSEWHERE, 0))
        connection.sock = self._context.wrap_socket(plain, server_hostname=NAME)
        return connection

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request as it is, with the cookies, and what the proxy asks for."""
        return super().request(method, path, body, **self._login, **headers)


class Site:
    """A host with the operator olga, and a certificate for the name that the recipes have."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.trusted = folder / "authority.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.trusted))
        certificate = authority.issue_cert(NAME)
        host.run("install", "-d", "/etc/ssl/private", "/var/lib/caddy", "/var/lib/nginx", "/var/log/nginx")
        chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
        host.path("/etc/ssl/imports.pem").write_bytes(chain)
        host.path("/etc/ssl/private/imports.key").write_bytes(certificate.private_key_pem.bytes())
        host.run("chmod", "-R", "a+rX", "/etc/ssl/private")
        host.run("sh", "-c", "rm -f /etc/nginx/sites-enabled/*")
        host.run("install", "-d", "-o", "rosterd-console", "-g", "rosterd-console", "/run/rosterd-console")
        join = ("usermod", "--append", "--groups", "rosterd-console")
        assert f"{' '.join(join)} www-data" in DOCUMENT
        for proxy in ("www-data", "caddy"):
            host.run(*join, proxy)
        self._settings = host.path("/etc/rosterd/config.toml").read_text()
        host.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
        host.run("sh", "-c", f"echo '{PASSWORD}' | {' '.join(ROSTERD)} console user add olga --role operator")
        host.start_service()

    @contextlib.contextmanager
    def serving(self, proxy: str, settings: str, recipe: str) -> Iterator[None]:
        """Run the console and a proxy by a recipe; others wait for their ports meanwhile."""
        with Path(tempfile.gettempdir(), "rosterd-test-proxies.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._serving(proxy, settings, recipe):
                yield

    @contextlib.contextmanager
    def _serving(self, proxy: str, settings: str, recipe: str) -> Iterator[None]:
        host = self.host
        host.path("/etc/rosterd/config.toml").write_text(self._settings + settings)
        log = host.path(LOG)
        log.write_text("")
        console = host.start(*CONSOLE, *ROSTERD, "console", log=log)
        wait_until(lambda: "console.started" in log.read_text(), "the console")
        running = self._nginx(recipe) if proxy == "nginx" else self._caddy(recipe)
        try:
            wait_until(_answers, proxy)
            yield
        finally:
            host.end(running)
            host.end(console)

    def _nginx(self, recipe: str) -> subprocess.Popen[bytes]:
        self.host.path("/etc/nginx/conf.d/rosterd.conf").write_text(recipe)
        self.host.run("nginx", "-t")
        return self.host.start("nginx", "-g", "daemon off;", log=self.host.path("/run/nginx.log"))

    def _caddy(self, recipe: str) -> subprocess.Popen[bytes]:
        assert OWN_CERTIFICATE in DOCUMENT
        own = recipe.replace("{\n", f"{{\n    {OWN_CERTIFICATE}\n", 1)
        quiet = "{\n    admin off\n    auto_https disable_redirects\n}\n"
        self.host.path("/etc/caddy/Caddyfile").write_text(quiet + own)
        self.host.run("chown", "caddy", "/var/lib/caddy")
        run = ("env", "HOME=/var/lib/caddy", "caddy", "run", "--config", "/etc/caddy/Caddyfile")
        return self.host.start("setpriv", *CADDY, *run, log=self.host.path("/run/caddy.log"))

    def hashed(self, password: str) -> str:
        """Return what Caddy stores of a password."""
        return self.host.run("caddy", "hash-password", "--plaintext", password).stdout.strip()


def _answers() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, 443), timeout=2):
        return True
    return False


@pytest.fixture(scope="module")
def site(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    needs("nginx", "caddy", "unshare", "nsenter", "setpriv", "systemd-sysusers", "systemd-tmpfiles", root=True)
    with Host() as host:
        yield Site(host, tmp_path_factory.mktemp("proxies"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_a_recipe_is_complete(site: Site, proxy: str, place: str) -> None:
    """By it people log in, with cookies that are Secure; tries count for the address that the proxy has seen."""
    settings, nginx, caddy = PLACES[place]
    with site.serving(proxy, settings, nginx if proxy == "nginx" else caddy):
        browser = Proxied(site.trusted)
        assert "/login?next=%2Fimports" == browser.get("/imports").headers["location"]
        assert "/imports" == browser.log_in("olga", next="/imports").headers["location"]
        assert 200 == browser.get("/imports").status
        assert browser.cookie_lines
        for line in browser.cookie_lines:
            assert line.startswith("__Host-rosterd")
            assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= {part.strip() for part in line.split(";")}
        assert 403 == browser.post("/logout", {"_csrf_token": "x"}).status
        form = {"_csrf_token": browser.token("/account"), "name": "olga", "password": "wrong"}
        sent = {"Content_Type": "application/x-www-form-urlencoded", "X_Forwarded_For": "192.0.2.1"}
        assert 401 == browser.request("POST", "/login", urllib.parse.urlencode(form).encode(), **sent).status
        other = browser.get("/login", Host="evil.example")
        assert (None, False) == (other.headers["location"], "Log in" in other.text)
    seen = HOST if place == "address" else ELSEWHERE
    assert re.search(f'"console.rejected".*"address": "{seen}"', site.host.path(LOG).read_text())


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_a_proxy_names_who_asks(site: Site, proxy: str) -> None:
    """By the recipe whom the proxy has asked for a password is let in, if the console knows them; nobody else is."""
    settings, nginx, caddy = PLACES["path"]
    asking = re.sub(r" +location / \{.*?\n    \}\n", recipe("\nnginx, where it asks"), nginx, flags=re.DOTALL)
    site.host.run(
        "sh", "-c", "for name in olga mallory; do echo $name:{PLAIN}secret; done > /etc/nginx/rosterd.htpasswd"
    )
    sent = "header_up X-Remote-User {http.auth.user.id}"
    hashed = site.hashed("secret")
    known = f"    basicauth {{\n        olga {hashed}\n        mallory {hashed}\n    }}\n    reverse_proxy"
    named = caddy.replace("    reverse_proxy", known).replace(".sock\n", f".sock {{\n        {sent}\n    }}\n")
    assert sent in DOCUMENT
    settings += re.search('proxy_user_header = "[^"]+"', DOCUMENT)[0] + "\n"  # type: ignore[index]  # it is there
    with site.serving(proxy, settings, asking if proxy == "nginx" else named):
        assert 401 == Proxied(site.trusted).get("/account", X_Remote_User="olga").status
        olga, mallory = (Proxied(site.trusted, password=f"{name}:secret") for name in ("olga", "mallory"))
        assert "You may decide and change." in olga.get("/account").text
        assert "You may decide and change." in olga.get("/account", X_Remote_User="mallory").text
        for headers in ({}, {"X_Remote_User": "olga"}, {"x_remote_user": "olga", "X_REMOTE_USER": "olga"}):
            answer = mallory.get("/account", **headers)
            assert (403, True) == (answer.status, "named nobody who may log in" in answer.text)
