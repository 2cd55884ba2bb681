# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Who may use the page: only its own pages, under its own name, and beyond this machine only with the token.

Three dangers: another site in the same browser sends requests to the page (looked at: Origin and Sec-Fetch-Site),
another site gives its own name this machine's address (DNS rebinding; looked at: Host), and other people in the network
(looked at: the token).
"""
from __future__ import annotations

import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from restore.page.refusal import Refusal

COOKIE = "restore_page"
HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()", "cache-control": "no-store"}
NO_TOKEN_CHINESE = "此页面需要令牌：请打开程序启动时显示的完整地址。"
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a server that is bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Access:
    """ASGI middleware that refuses requests of others, and adds the headers of security to every answer.

    host: to which the server is bound. token: None for a server that only this machine reaches.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, page_policy: str) -> None:
        self._app, self._token, self._policy = app, token, page_policy
        self._hosts = {host.lower(), "localhost", "127.0.0.1", "::1"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                is_page = headers.get("content-type", "").startswith("text/html")
                headers["content-security-policy"] = self._policy if is_page else NOTHING
            await send(message)
        answer = self._refused(scope, Headers(scope=scope))
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refused(self, scope, headers) -> Response | None:
        """Returns the answer to a request that does not reach the application, or None."""
        try:
            self._check_origin(scope, headers)
            return self._log_in(scope) or self._check_token(scope, headers)
        except Refusal as refusal:
            if refusal.code == "no_token" and scope["method"] == "GET" and scope["path"] == "/":
                return PlainTextResponse(f"{refusal.sentence}\n\n{NO_TOKEN_CHINESE}\n", refusal.status)
            return JSONResponse(refusal.record(), refusal.status, headers={"connection": "close"})

    def _check_origin(self, scope, headers):
        host = headers.get("host", "")
        # With a token, another name cannot do harm: browsers do not send the cookie to it.
        if self._token is None and _name_of(host) not in self._hosts:
            raise Refusal("wrong_host", host=ascii(host[:60]))
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and _origin_host(origin) != host.lower():
            raise Refusal("other_site")
        opens_a_page = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
        if site not in (None, "same-origin", "none") and not opens_a_page:
            raise Refusal("other_site")

    def _log_in(self, scope) -> Response | None:
        """Returns the answer to the address with the token: it puts it into a cookie, out of the address."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token is None or scope["path"] != "/" or not self._is_token(given):
            return None
        answer = RedirectResponse("/", 303)
        answer.set_cookie(_cookie_name(scope), self._token, httponly=True, samesite="lax")
        return answer

    def _check_token(self, scope, headers) -> None:
        if self._token is None:
            return
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(scope))
        except CookieError:
            cookie = None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if not (cookie and self._is_token(cookie.value) or kind.lower() == "bearer" and self._is_token(given)):
            raise Refusal("no_token")

    def _is_token(self, given):
        return secrets.compare_digest(given.encode(), self._token.encode())


def _cookie_name(scope: Scope) -> str:
    """Returns the cookie's name: browsers share cookies between the ports of a host, where other pages may be."""
    return f"{COOKIE}_{scope['server'][1]}"


def _name_of(host: str) -> str:
    """Returns the header Host without its port; "" for what is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _origin_host(origin: str) -> str:
    """Returns host and port of the header Origin; "" for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
