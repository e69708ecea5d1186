"""What a guide is about: a client, how it logs in, what it has sent so far, and in which language it reads."""

from __future__ import annotations

from typing import Final

import msgspec

from importer.model import Param, message
from importer.settings import ClientSettings
from importer.wording.catalogue import Words
from operate.pages.markup import Heading, Items, Steps, Text
from watcher.settings import Config

CHAPTER: Final = 2  # level of its heading


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a client reaches its inbox."""

    host: str
    port: int
    login: str
    folder: str = "/upload"
    host_keys: tuple[str, ...] = ()


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """One guide in one language; its methods make a part of a page from templates, named without "guide/"."""

    client: ClientSettings
    access: Access
    config: Config
    words: Words
    used: tuple[str, ...] = ()  # attributes of which its users have values
    anchors: str = ""  # begins each anchor, so that those of a second language are others

    def say(self, key: str, **params: Param) -> str:
        """Return a sentence."""
        return self.words.say(message(f"guide/{key}", **params))

    def heading(self, key: str, level: int = CHAPTER) -> Heading:
        """Return a heading; that of a chapter has an anchor of the same name."""
        return Heading(self.say(key), level, f"{self.anchors}{key}" if level == CHAPTER else "")

    def link(self, key: str) -> str:
        """Return the heading of a chapter as a link to it."""
        return f"[{self.say(key)}](#{self.anchors}{key})"

    def text(self, key: str, **params: Param) -> Text:
        """Return a paragraph."""
        return Text(self.say(key, **params))

    def items(self, *keys: str) -> Items:
        """Return a list of sentences without parameters."""
        return Items(tuple(map(self.say, keys)))

    def steps(self, *keys: str, **params: Param) -> Steps:
        """Return a list of steps, whose templates take what they need of the parameters."""
        return Steps(tuple(self.say(key, **params) for key in keys))
