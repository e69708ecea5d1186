"""
What rosterd does not do: watch recursively. Writes the path of each file that appears, until it is killed.

    recursive.py FOLDER...
"""

from __future__ import annotations

import sys
import threading

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Listener(FileSystemEventHandler):
    def on_created(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            tell(str(event.src_path))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    observer = Observer()
    observer.start()
    for folder in sys.argv[1:]:
        observer.schedule(_Listener(), folder, recursive=True)
    tell("watching")
    threading.Event().wait()


if __name__ == "__main__":
    main()
