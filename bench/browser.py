"""Uses the server from pages on other origins in a real Chromium, with and without accounts.

    python -m bench.browser [--chromium /usr/bin/chromium]

One page is on an origin that `DOCATLAS_CORS_ORIGINS` names, one is not; neither is loopback by its name. Printed is
what each could do: show a page, a picture and a thumbnail, read a range of a PDF, upload, send and read headers.
"""

from __future__ import annotations

import argparse
import http.server
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from api.http.security import ALLOWED_HEADERS
from bench.server import ROOT, BenchError, connect, end_in_order, serving, upload, wait_for_job

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
ALLOWED, FOREIGN = "app.docatlas.test", "evil.docatlas.test"
BROWSER_S = 60
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

PAGE = """<!doctype html><meta charset=utf-8><title>bench</title><script>
const given = GIVEN, found = {};
const auth = given.token ? {Authorization: "Bearer " + given.token} : {};
const shown = address => new Promise(done => {
  const image = new Image();
  image.onload = () => done(image.naturalWidth > 0);
  image.onerror = () => done(false);
  image.src = given.server + address;
  document.documentElement.append(image);
});
const attempt = async (name, work) => {
  try { found[name] = Boolean(await work()); } catch (error) { found[name] = false; }
};
(async () => {
  for (const kind of ["page", "picture", "thumbnail"])
    await attempt(`<img> of a ${kind}`, () => shown(given.addresses[kind]));
  await attempt("PDF, a range of bytes", async () => {
    const reply = await fetch(given.server + given.addresses.file, {headers: {Range: "bytes=0-7"}});
    return reply.status === 206 && (await reply.text()).startsWith("%PDF-") && reply.headers.get("Content-Range")
      && reply.headers.get("ETag") && reply.headers.get("Accept-Ranges") === "bytes";
  });
  await attempt("upload, Location read", async () => {
    const form = new FormData();
    form.append("files", new Blob([`The harbour opens at dawn. ${Math.random()}`]), "note.txt");
    const reply = await fetch(given.server + "/v1/documents", {method: "POST", body: form, headers: auth});
    return reply.status === 202 && reply.headers.get("Location").startsWith("/v1/jobs/");
  });
  await attempt("request id read", async () =>
    (await fetch(given.server + "/v1/documents", {headers: auth})).headers.get("X-Request-Id"));
  for (const name of given.headers)
    await attempt(`header ${name}`, async () => {
      const values = {Authorization: auth.Authorization || "Bearer x", "X-API-Key": ""};
      const headers = {...auth, [name]: name in values ? values[name] : "text/plain"};
      return (await fetch(given.server + "/v1/documents", {headers})).status < 500;
    });
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


@contextmanager
def pages(server: str, given: Mapping[str, Any]) -> Iterator[tuple[int, queue.Queue[dict[str, bool]]]]:
    """A web server with the page on a free port of loopback, and what the page finds."""
    found: queue.Queue[dict[str, bool]] = queue.Queue()
    page = PAGE.replace("GIVEN", json.dumps({"server": server, **given}))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the table says it."""

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, name="page")
    thread.start()
    try:
        yield web.server_address[1], found
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def visit(chromium: str, address: str, found: queue.Queue[dict[str, bool]]) -> dict[str, bool]:
    """What the page at `address` found. Raises BenchError when it says nothing."""
    profile = tempfile.mkdtemp(prefix="docatlas-chromium-")
    rules = "--host-resolver-rules=MAP *.docatlas.test 127.0.0.1"
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", rules, "--remote-debugging-port=0", address]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        return found.get(timeout=BROWSER_S)
    except queue.Empty as error:
        raise BenchError(f"{address} told nothing within {BROWSER_S} s") from error
    finally:
        browser.terminate()
        browser.communicate(timeout=30)
        shutil.rmtree(profile, ignore_errors=True)


def prepare(client: httpx.Client, *, accounts: bool) -> dict[str, Any]:
    """A token where there are accounts, and the addresses of a PDF, its first page, a picture and a thumbnail."""
    token = ""
    if accounts:
        asked = {"email": "ada@example.org", "password": "correct horse battery staple"}
        token = client.post("/v1/auth/register", json=asked).raise_for_status().json()["session"]["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
    entries = [upload(client, ROOT / "tests" / "data" / name) for name in ("report.pdf", "letter.png")]
    for entry in entries:
        wait_for_job(client, entry["job"]["id"])
    document, picture_document = (entry["document"] for entry in entries)
    page = client.get(f"/v1/documents/{document['id']}/pages/1").raise_for_status().json()
    picture = client.get(f"/v1/documents/{picture_document['id']}/images").raise_for_status().json()["data"][0]
    return {
        "token": token,
        "headers": ALLOWED_HEADERS.split(", "),
        "addresses": {
            "file": document["file_url"],
            "page": page["page_image_url"],
            "picture": picture["url"],
            "thumbnail": picture["thumbnail_url"],
        },
    }


def main() -> None:
    """Prints the table; exits with 1 where the one page could not do all, or the other anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    if arguments.chromium is None:
        parser.error("there is no Chromium: install it, or name it with --chromium")
    end_in_order()
    table = Table()
    columns: dict[str, dict[str, bool]] = {}
    for accounts in ("none", "local"):
        with tempfile.TemporaryDirectory(prefix="docatlas-browser-") as folder:
            environment = {
                "DOCATLAS_TEXT_MODEL": "hash",
                "DOCATLAS_ACCOUNTS": accounts,
                "DOCATLAS_TOKEN_SECRET": "a secret of this measurement, long enough",
                "DOCATLAS_REGISTRATION": "open",
                "DOCATLAS_CORS_ORIGINS": json.dumps([f"http://{ALLOWED}:*"]),
            }
            with serving(Path(folder) / "data", env=environment) as server, connect(server) as client:
                given = prepare(client, accounts=accounts == "local")
                with pages(server.url, given) as (port, found):
                    for host in (ALLOWED, FOREIGN):
                        address = f"http://{host}:{port}/"
                        columns[f"{accounts}, {host.partition('.')[0]}"] = visit(arguments.chromium, address, found)
    table.add_column("from a page on another origin")
    for name in columns:
        table.add_column(name)
    for row in next(iter(columns.values())):
        table.add_row(row, *("yes" if column[row] else "no" for column in columns.values()))
    console.print(table)
    wrong = [
        f"{name}: {row}"
        for name, column in columns.items()
        for row, worked in column.items()
        if worked != name.endswith("app")
    ]
    if wrong:
        console.print("not as it should be: " + "; ".join(wrong))
        sys.exit(1)


if __name__ == "__main__":
    main()
