"""Print the size of what pip is about to download: `python download_size.py REPORT.json`.

Only the standard library: it runs before anything is installed.
"""

import json
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit


def size_of(item: dict[str, Any]) -> int | None:
    """Return the size in bytes of one package of pip's report; None if the server is silent."""
    download = item["download_info"]
    if "dir_info" in download:  # our own SDK, from this folder
        return 0
    url = urlsplit(download["url"])
    if url.scheme == "file":
        return os.path.getsize(unquote(url.path))
    try:
        question = urllib.request.Request(download["url"], method="HEAD")
        with urllib.request.urlopen(question, timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def main(report: str) -> None:
    with open(report, encoding="utf-8") as file:
        packages = json.load(file)["install"]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(size_of, packages))
    total = sum(size or 0 for size in sizes) / 1e6
    unknown = sizes.count(None)
    more = f" and {unknown} of unknown size" if unknown else ""
    print(f"setup: {len(packages)} packages to install, {total:.0f} MB to download{more}")


if __name__ == "__main__":
    main(sys.argv[1])
