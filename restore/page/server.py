# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The page's server: what each address answers. docs/photos.md describes those that programs use."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route

from restore.page.access import Access
from restore.page.jobs import DONE, Job, Jobs
from restore.page.limits import MB
from restore.page.names import attachment
from restore.page.refusal import Refusal
from restore.page.uploads import read_form
from restore.video_file import EXTENSIONS as VIDEOS
from utils.errors import shown

PAGE = Path(__file__).with_name("page.html")
TIDY_SECONDS = 5.0
ASKED_AT_ONCE = 200  # photos
RETRY_SECONDS = 2
BINARY = "application/octet-stream"  # a browser shows no photo that it was told to save


class Server:
    """The ASGI application `app` around the queue. host, token: see restore/page/access.py."""

    def __init__(self, jobs: Jobs, host: str, token: str | None = None) -> None:
        self.jobs, self._page = jobs, PAGE.read_text(encoding="utf-8")
        routes = [
            Route("/", self.page), Route("/limits", self.limits), Route("/restore", self.restore, methods=["POST"]),
            Route("/jobs", self.states), Route("/jobs", self.add, methods=["POST"]),
            Route("/jobs/remove", self.remove_several, methods=["POST"]),
            Route("/jobs/{id}", self.remove, methods=["DELETE"]), Route("/jobs/{id}/report", self.report),
            Route("/jobs/{id}/{what:str}", self.file)]
        starlette = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={
            Refusal: _refuse, HTTPException: _no_page, ClientDisconnect: _gone})
        starlette.router.redirect_slashes = False
        self.app = Access(starlette, host, token, page_policy(self._page))

    @contextlib.asynccontextmanager
    async def _lifespan(self, app):
        async def tidy():
            while True:
                await asyncio.sleep(TIDY_SECONDS)
                self.jobs.tidy()
        task = asyncio.create_task(tidy())
        yield
        task.cancel()

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    async def limits(self, request: Request) -> Response:
        """Returns what the page checks before it uploads a photo."""
        limits = self.jobs.limits
        return JSONResponse({"file_bytes": limits.file_bytes, "megabytes": limits.file_bytes // MB})

    async def _receive(self, request, watched) -> Job:
        with self.jobs.uploading() as upload:
            form = await read_form(request, upload, self.jobs.limits)
            if Path(form.name).suffix.lower() in VIDEOS:
                raise Refusal("video")
            return self.jobs.add(form.name, form.content, form.settings, watched)

    async def add(self, request: Request) -> Response:
        """Takes a photo of the page."""
        job = await self._receive(request, watched=True)
        return JSONResponse(self.jobs.describe(job.id), 202)

    async def restore(self, request: Request) -> Response:
        """Takes a photo of a program, and answers with the restored one. A client that goes away cancels it."""
        job = await self._receive(request, watched=False)
        finished, gone = asyncio.wrap_future(job.finished), asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((finished, gone), return_when=asyncio.FIRST_COMPLETED)
            if not finished.done():
                raise ClientDisconnect
        finally:
            gone.cancel()
            if not finished.done():  # also if the server ends
                self.jobs.cancel(job.id)
        if job.refusal:
            raise job.refusal.copy()
        result, faces = job.result, job.result.report["faces"]
        return Response(result.content, media_type=BINARY, headers={
            "content-disposition": attachment(job.download_name), "x-faces-found": str(len(faces)),
            "x-faces-restored": str(result.report["restored"]), "x-report": f"/jobs/{job.id}/report"})

    async def states(self, request: Request) -> Response:
        """Says how far photos are: GET /jobs?id=...&id=..."""
        found = {}
        for photo_id in request.query_params.getlist("id")[:ASKED_AT_ONCE]:
            try:
                found[photo_id] = self.jobs.describe(photo_id)
            except Refusal as refusal:
                found[photo_id] = {"id": photo_id, "state": "forgotten", **refusal.record()}
        return JSONResponse(found)

    async def remove(self, request: Request) -> Response:
        self.jobs.get(request.path_params["id"])
        self.jobs.cancel(request.path_params["id"])
        return Response(status_code=204)

    async def remove_several(self, request: Request) -> Response:
        """Removes the photos of a page that is being closed; the ids are in the query, as of `states`."""
        for photo_id in request.query_params.getlist("id")[:ASKED_AT_ONCE]:
            self.jobs.cancel(photo_id)
        return Response(status_code=204)

    def _finished(self, request) -> Job:
        job = self.jobs.get(request.path_params["id"])
        if job.refusal:
            raise job.refusal.copy()
        if job.state != DONE:
            raise Refusal("not_ready")
        return job

    async def report(self, request: Request) -> Response:
        job = self._finished(request)
        return JSONResponse({"file": job.download_name, **job.result.report})

    async def file(self, request: Request) -> Response:
        """Returns the restored photo's file, or what the page shows: before.jpg, after.jpg."""
        job, what = self._finished(request), request.path_params["what"]
        if what == "photo":
            return Response(job.result.content, media_type=BINARY,
                            headers={"content-disposition": attachment(job.download_name)})
        content = {"before.jpg": job.result.before, "after.jpg": job.result.after}.get(what)
        if content is None:
            raise Refusal("no_page")
        return Response(content, media_type="image/jpeg")


def page_policy(page: str) -> str:
    """Returns the Content-Security-Policy of the page: its own script and style by their digests, nothing else."""
    def digests(tag):
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
                        for part in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
    return (f"default-src 'none'; script-src {digests('script')}; style-src {digests('style')}; img-src 'self' data:; "
            f"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refuse(request: Request, refusal: Refusal) -> Response:
    headers = {"connection": "close"}  # what was sent of a request that is refused is not read
    if refusal.code == "busy":
        headers["retry-after"] = str(RETRY_SECONDS)
    return JSONResponse(refusal.record(), refusal.status, headers)


async def _no_page(request: Request, error: HTTPException) -> Response:
    if error.status_code != 405:
        return JSONResponse(Refusal("no_page").record(), error.status_code, error.headers)
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE)
    known = ", ".join(sorted({method for route in routes for method in route.methods}))
    refusal = Refusal("wrong_method", method=shown(request.method, 20), known=known)
    return JSONResponse(refusal.record(), 405, {"allow": known})


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=499)  # nobody reads it
