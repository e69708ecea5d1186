"""What `rosterd doctor` checks about the database, and what it tells from it: the clock, files on hold."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from importer.store import queries
from importer.store.connection import Connection
from importer.store.errors import StoreError, StoreOutdated, StoreUnusable
from importer.store.places import Place
from importer.store.roster import held_files
from importer.store.sqlite import damage
from importer.store.sqlite.connection import VERSION, VERSION_INFO, current
from operate.doctor.findings import Findings, Severity, Topic
from operate.output import age, counted
from watcher.health.obstacle import obstacle

_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_CLOCK_SLACK_S: Final = 300
_MAX_DAMAGES: Final = 5
_OLDEST_SERVER: Final = 140_000  # of PostgreSQL, as it numbers itself: it notices that a client is gone
_SERVER_CLOCK_SLACK_S: Final = 30.0
_FREE_CONNECTIONS: Final = 5  # connections: two for each host, and commands


def database_findings(path: Path, uid: int) -> Findings:
    """Yield the results for the database of the service, which runs as this user."""
    topic = Topic("database")
    if VERSION_INFO < _OLDEST_SQLITE:
        yield topic.fault(f"SQLite is {VERSION}; expected 3.37 or newer", "upgrade libsqlite3-0")
    if not path.exists():
        yield topic.ok(f"{path}: will be created at the first start")
        return
    what, remedy = obstacle(path, uid)
    # Owners of its files are a finding about the state directory, with the remedy for all.
    if what and (" belongs to " not in what or what.startswith(f"{path.parent} ")):
        yield topic.fault(what, remedy)
    try:
        with contextlib.closing(current(path)) as database:
            damages = _damages(topic, path, database)
            yield from (each for each in damages if not (what and each.level is Severity.OK))
            yield from content_findings(database)
    except StoreOutdated:
        yield topic.fault(f"{path}: was made by an earlier rosterd", "systemctl restart rosterd brings it up to date")
    except StoreError as error:
        yield topic.fault(f"{path}: {error}", "rosterd verify shows details; restore a damaged database from a backup")


def content_findings(database: Connection) -> Findings:
    """Yield what is told from what a database has: the clock, files on hold."""
    yield from _future(database)
    yield from _on_hold(database)


def _damages(topic: Topic, path: Path, database: Connection) -> Findings:
    if not damage.is_ours(database):
        yield topic.fault(f"{path}: is not a database of rosterd", "name another file in [service] database")
        return
    damages = damage.damages(database, quick=True, at_most=_MAX_DAMAGES)
    for each in damages:
        yield topic.fault(f"{path}: {each}", "stop the service and restore the database from a backup")
    if not damages:
        yield topic.ok(f"{path}: sound, SQLite {VERSION}")


def _future(database: Connection) -> Findings:
    """Yield that the clock was set back: an import is recorded in the future."""
    last = queries.last_finished_at(database)
    if last and (datetime.fromisoformat(last) - datetime.now(UTC)).total_seconds() > _CLOCK_SLACK_S:
        yield Topic("clock").fault(f"is behind: the last import is recorded at {last}", "timedatectl")


def _on_hold(database: Connection) -> Findings:
    """Yield which clients have files that wait for an approval."""
    now = datetime.now(UTC)
    waiting = held_files.waiting(database)
    for client, count in Counter(held.client for held in waiting).items():
        oldest = next(held for held in waiting if held.client == client)
        name = shlex.quote(oldest.file)
        what = f"the removals of {oldest.file}" if oldest.is_of_removals else oldest.file
        yield Topic(f"client {client}").warning(
            f"{counted(count, 'file is', 'files are')} on hold, {what} for {age(oldest.held_at, now)}",
            f"rosterd preview {oldest.import_id}; then: rosterd approve {name} --client {client}, or: "
            f"rosterd reject {name} --client {client}",
        )


def findings_of(place: Place, uid: int) -> Findings:
    """Yield the results for the database of the service, which runs as this user, whichever it is."""
    return server_findings(place) if place.file is None else database_findings(place.file, uid)


def server_findings(place: Place) -> Findings:
    """Yield the results for the server of the database, and what is told from what it has."""
    topic = Topic("database")
    try:
        with place.reading() as conn:
            yield from _of_server(topic, place, conn)
            yield from _of_hosts(conn)
            yield from content_findings(conn)
    except StoreOutdated as error:
        yield topic.fault(f"{place.name}: {error}", "systemctl restart rosterd")
    except StoreUnusable as error:
        yield topic.fault(str(error), "edit config.toml; its comments explain every setting")
    except StoreError as error:
        yield topic.fault(f"{place.name}: {error}", f"{error.remedy or 'see its log'}; uploads wait meanwhile")


def _of_server(topic: Topic, place: Place, conn: Connection) -> Findings:
    query = """SELECT current_setting('server_version_num'), current_setting('server_version'),
        extract(epoch FROM clock_timestamp()), pg_is_in_recovery(), current_setting('max_connections'),
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)"""
    number, version, now, is_standby, most, used, is_encrypted = conn.execute(query).fetchone()
    ahead_s = float(now) - datetime.now(UTC).timestamp()
    if int(number) < _OLDEST_SERVER:
        yield topic.fault(f"PostgreSQL is {version}; expected 14 or newer", "upgrade the server")
    if abs(ahead_s) > _SERVER_CLOCK_SLACK_S:
        yield Topic("clock").fault(f"differs by {abs(ahead_s):.0f} s from that of the database", "set both by NTP")
    if is_standby:
        yield topic.fault(f"{place.name}: is a standby, which cannot be written", "name the primary, or promote it")
    if int(most) - used < _FREE_CONNECTIONS:
        yield topic.warning(f"{used} of {most} connections of the server are used", "raise max_connections")
    encrypted = "encrypted and verified" if is_encrypted else "on this host"
    yield topic.ok(f"{place.name}: PostgreSQL {version}, {encrypted}, up to date, as host {conn.host}")


def _of_hosts(conn: Connection) -> Findings:
    now = datetime.now(UTC)
    for each in (each for each in queries.hosts(conn) if each.is_silent(now)):
        yield Topic(f"host {each.host}").warning(
            f"was last there {age(each.last_seen, now)} ago: what was uploaded to it waits there",
            "start rosterd on it; if it is gone for good: its uploads are in the inboxes and .work of its disk",
        )
