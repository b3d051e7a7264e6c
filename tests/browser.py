"""Debian's Chromium, driven as a person would use it, through the protocol of its developer tools."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
_PATIENCE = 60.0  # seconds
_FIND = """(async () => {
  const wanted = %s, shown = each => each.checkVisibility() && each.getBoundingClientRect().width > 0;
  const said = each => (each.innerText || each.getAttribute("aria-label") || "").trim();
  const found = [...document.querySelectorAll(%s)].filter(each => shown(each) && (!wanted || said(each) === wanted));
  if (!found.length) return null;
  const measure = () => {
    const box = found[0].getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  found[0].scrollIntoView({block: "center"});
  const before = measure();
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  const [x, y] = measure();
  return x === before[0] && y === before[1] && found[0].contains(document.elementFromPoint(x, y)) ? [x, y] : null;
})()"""


class Browser:
    """A window with one page.

    Args:
        port: Where its developer tools listen.
    """

    def __init__(self, port: int) -> None:
        self._tools = f"http://127.0.0.1:{port}/json"
        self._asked: set[str] = set()
        self._number = 0
        [self._first] = self.list_pages()
        self._attach(self._first)

    def list_pages(self) -> list[dict[str, Any]]:
        """Lists what is open; a link may have opened a page of its own."""
        return [each for each in httpx.get(f"{self._tools}/list").json() if each["type"] == "page"]

    def open(self, url: str) -> None:
        """Opens an address in the window."""
        self._ask("Page.navigate", url="about:blank")  # the page before asks for nothing any more
        self._asked = set()
        self._ask("Page.navigate", url=url)

    def list_hosts(self) -> set[str]:
        """Returns which hosts the page asked for anything since it was opened, WebSockets among it."""
        self.run("0")  # whatever came before it is heard
        return set(self._asked)

    def follow(self, url: str) -> None:
        """Goes on with the page whose address holds a text, in whatever window a click has opened it; empty: back."""
        deadline = time.monotonic() + _PATIENCE
        while not (found := [each for each in self.list_pages() if url in each["url"]] if url else [self._first]):
            assert time.monotonic() < deadline, f"No page {url} was opened."
            time.sleep(0.1)
        self._socket.close()
        self._attach(found[0])

    def run(self, script: str) -> Any:
        """Returns what an expression of JavaScript comes to on the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, what: str, script: str, *, patience: float = _PATIENCE) -> Any:
        """Waits until an expression comes to something, and returns it."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(AssertionError):  # of a page that is just being left
                if found := self.run(script):
                    return found
            time.sleep(0.1)
        raise AssertionError(f"{what} is not shown:\n{self.read()}")

    def wait_for_text(self, *texts: str) -> str:
        """Waits until a page shows texts, or has them as the value of a field, and returns all of its markup."""
        for text in texts:
            self.wait_for(text, f"document.documentElement.outerHTML.includes({json.dumps(text)})")
        return str(self.run("document.documentElement.outerHTML"))

    def read(self) -> str:
        """Returns what the page says."""
        return str(self.run("document.body.innerText"))

    def click(self, selector: str, text: str = "") -> None:
        """Presses the mouse on the first visible element of a kind, that says a text where one is given.

        What moves, or has something before it, is waited for.
        """
        find = _FIND % (json.dumps(text), json.dumps(selector))
        x, y = self.wait_for(f"{selector} {text}", find)
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def touch(self, kind: str, *at: float) -> None:
        """Puts a finger on a point of the window, moves it there, or lifts it (touchStart, touchMove, touchEnd)."""
        points = [{"x": at[0], "y": at[1]}] if at else []
        self._ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def type(self, selector: str, text: str) -> None:
        """Clicks into a field and types."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.click(selector)
        self.wait_for(f"the cursor in {selector}", f"document.activeElement === {field}")
        self._ask("Input.insertText", text=text)
        self.wait_for(text, f"{field}.value === {json.dumps(text)}")

    def choose(self, selector: str, value: str) -> None:
        """Chooses of a list, whose options open in no window that the protocol reaches."""
        self.run(f"""(() => {{
          const list = document.querySelector({json.dumps(selector)});
          list.value = {json.dumps(value)};
          for (const event of ["input", "change"]) list.dispatchEvent(new Event(event, {{bubbles: true}}));
        }})()""")

    def picture(self, path: Path) -> None:
        """Keeps what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """Closes the window as a person does; one whose browser is terminated leaves files in TMPDIR."""
        with suppress(ConnectionClosed):  # it may be gone before it answers
            self._ask("Browser.close")

    def _attach(self, page: dict[str, Any]) -> None:
        self._socket: ClientConnection = connect(
            page["webSocketDebuggerUrl"], max_size=None, ping_interval=None, close_timeout=1
        )
        self._ask("Page.bringToFront")  # one behind another is not drawn, and what moves there comes to no end
        self._ask("Network.enable")
        self._ask("Page.enable")

    def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": given}))
        while True:
            heard = json.loads(self._socket.recv(timeout=_PATIENCE))
            if heard.get("method") in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
                asked = heard["params"].get("url") or heard["params"]["request"]["url"]
                if urlsplit(asked).scheme in {"http", "https", "ws", "wss"}:
                    self._asked.add(urlsplit(asked).netloc)
            if heard.get("id") == self._number:
                assert "error" not in heard, (method, heard["error"])
                result: dict[str, Any] = heard["result"]
                return result


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Opens a window, with its profile in a folder, and closes it."""
    port = folder / "profile/DevToolsActivePort"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", *_QUIET, "--remote-debugging-port=0"]
    command += [f"--user-data-dir={folder}/profile", "--window-size=1500,1200", "about:blank"]
    with subprocess.Popen(
        command, env=os.environ | {"HOME": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + _PATIENCE
            while not port.exists() or "\n" not in port.read_text():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            browser = Browser(int(port.read_text().split()[0]))
            try:
                yield browser
            finally:
                browser.close()
                process.wait(timeout=_PATIENCE)
        finally:
            process.terminate()
