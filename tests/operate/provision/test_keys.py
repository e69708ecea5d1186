"""The key of a client, as it comes from anywhere: public, one a line, or refused with what it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from operate import cli
from operate.provision.keys import KeyRefused, read_public_keys

Needs = Callable[..., None]
KINDS = {"ed25519": "ED25519", "rsa": "RSA", "ecdsa": "ECDSA"}


def make(folder: Path, kind: str = "ed25519", *options: str) -> tuple[Path, str]:
    """Make a key pair; return its private file and its public line."""
    path = folder / f"id_{kind}"
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "zoe@example.org", "-f", str(path), *options]
    subprocess.run(command, check=True)
    return path, path.with_suffix(".pub").read_text()


@pytest.fixture(autouse=True)
def _needed(needs: Needs) -> None:
    needs("ssh-keygen")


@pytest.mark.parametrize("kind", KINDS)
def test_public_keys_are_taken_as_they_are(tmp_path: Path, kind: str) -> None:
    """Each kind that sshd takes is accepted, with its comment; its fingerprint is what ssh-keygen says."""
    path, line = make(tmp_path, kind)
    [key] = read_public_keys(path.with_suffix(".pub"))
    said = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout.split()
    assert (line.rstrip(), f"{said[0]} {said[1]} ({KINDS[kind]})") == (key.text, key.fingerprint)


def test_several_keys_with_comments_between_them(tmp_path: Path) -> None:
    """Empty lines, comments, line ends and encodings of Windows do no harm, and are not installed."""
    path, line = make(tmp_path)
    for content in (f"# Zoe\n\n{line}{line}", f"\ufeff{line.rstrip()}\r\n{line}".replace("\n", "\r\n")):
        path.write_bytes(content.encode())
        assert [line.rstrip()] * 2 == [key.text for key in read_public_keys(path)]
    path.write_bytes(line.encode("utf-16"))
    assert [line.rstrip()] == [key.text for key in read_public_keys(path)]


REFUSED = {
    "private": (lambda _, private: private, "is a private key"),
    "private, older form": (lambda *_: "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", "is a private key"),
    "private, after a public one": (lambda line, private: line + private, "is a private key"),
    "private, of PuTTY": (lambda *_: "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "is a private key"),
    "private, of ssh.com": (lambda *_: "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "is a private key"),
    "RFC 4716": (lambda *_: "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i -f FILE converts it"),
    "PEM": (lambda *_: "-----BEGIN PUBLIC KEY-----\nMIIB\n", "converts it"),
    "command": (lambda line, _: f'command="/bin/sh" {line}', "line 1: has options before the key"),
    "authority": (lambda line, _: f"cert-authority {line}", "line 1: has options before the key"),
    "junk": (lambda *_: "root:$6$secret:19000:0:99999:7:::\n", "line 1: is not a public key"),
    "junk, second line": (lambda line, _: f"{line}secret\n", "line 2: is not a public key"),
    "two on a line": (lambda line, _: line.rstrip() + "\r" + line, "control characters"),
    "two on a line, without anything between": (
        lambda line, _: f"{line.split()[0]} {line.split()[1]} {line}",
        "two keys",
    ),
    "two on a line, behind a name": (lambda line, _: f"{line.rstrip()} {line}", "line 1: contains two keys"),
    "cut off": (lambda line, _: " ".join(line.split()[:2])[:-9] + "\n", "line 1: is not a public key"),
    "of another kind": (lambda line, _: line.replace("ssh-ed25519", "ssh-rsa"), "line 1: is not a public key"),
    "weak": (lambda *_: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAIQDZsecret\n", "line 1: is not a public key"),
    "DSA": (lambda *_: "ssh-dss AAAAB3NzaC1kc3MAAACB zoe\n", "is a DSA key"),
    "certificate": (lambda *_: "ssh-ed25519-cert-v01@openssh.com AAAAIHNz zoe\n", "is a certificate"),
    "escape sequence": (lambda line, _: line.rstrip() + "\033]0;owned\007\n", "line 1: contains control characters"),
    "turned round": (lambda line, _: line.rstrip() + " \u202egpj\n", "line 1: contains control characters"),
    "zeros": (lambda *_: "\0" * 200, "contains control characters"),
    "too large": (lambda line, _: line * 1000, "has more than 64 KiB"),
    "empty": (lambda *_: "", "contains no key"),
    "comments only": (lambda *_: "# secret\n", "contains no key"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(tmp_path: Path, content: Callable[[str, str], str], said: str) -> None:
    """A file that is not a list of public keys is refused by its kind, and none of its content is shown."""
    path, line = make(tmp_path)
    path.write_text(text := content(line, path.read_text()))
    with pytest.raises(KeyRefused) as caught:
        read_public_keys(path)
    told = str(caught.value)
    assert said in told
    assert str(path) in told
    shown = told.replace(str(path), "")
    assert [] == [word for word in text.split() if len(word) > 12 and word in shown]
    assert shown.isprintable()


@pytest.mark.parametrize(("bits", "is_weak"), [(1024, True), (2048, False)])
def test_a_weak_key_is_refused_with_its_length(tmp_path: Path, bits: int, *, is_weak: bool) -> None:
    """An RSA key below 2048 bits, which sshd would accept, is refused, and the answer says which one to ask for."""
    path, _ = make(tmp_path, "rsa", "-b", str(bits))
    if not is_weak:
        assert 1 == len(read_public_keys(path.with_suffix(".pub")))
        return
    with pytest.raises(KeyRefused, match=f"RSA key of {bits} bits, which is weak; .* ssh-keygen -t ed25519"):
        read_public_keys(path.with_suffix(".pub"))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are refused."""
    path = tmp_path / "key"
    path.write_bytes(b"ssh-ed25519 AAAA \xff\xfe")
    with pytest.raises(KeyRefused, match="is not text"):
        read_public_keys(path)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    """A link, a pipe and a device are refused without being followed or waited for."""
    path, _ = make(tmp_path)
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path.with_suffix(".pub"))
    os.mkfifo(pipe)
    for odd, said in (
        (link, "is a symbolic link"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ):
        with pytest.raises(KeyRefused, match=said):
            read_public_keys(odd)


def test_the_command_installs_and_shows_no_other(tmp_path: Path, needs: Needs) -> None:
    """`client add --key` of a private key ends before the first step and shows none of it."""
    needs(root=True)
    path, _ = make(tmp_path)
    refused = CliRunner().invoke(cli.main, ["client", "add", "acme", "--key", str(path)])
    assert 2 == refused.exit_code
    assert "is a private key" in refused.output
    assert not [line for line in path.read_text().splitlines() if line in refused.output]
