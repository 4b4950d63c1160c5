"""The tables, as numbered migrations in SQL that SQLite and PostgreSQL both understand.

===========  ===========================================================================================================
meta         ``id`` of the store, and ``revision``, which every transaction that changes something raises
bundles      an avatar or a calibration by kind and name, and the number of its consent record
files        a bundle's files: path and content
blobs        content by SHA-256 (hexadecimal); ``data`` only where the database keeps it (PostgreSQL)
consents     consent records as their JSON, those that were revoked too
settings     single values by key
migrations   the numbers of the migrations that were applied
===========  ===========================================================================================================

A migration is never changed once it is released: another one follows it. ``{bytes}`` is the database's type for bytes.
"""

from __future__ import annotations

Migration = tuple[str, ...]

MIGRATIONS: tuple[Migration, ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, size BIGINT NOT NULL, data {bytes})",
        "CREATE TABLE bundles (kind TEXT NOT NULL, name TEXT NOT NULL, consent TEXT NOT NULL DEFAULT '',"
        " PRIMARY KEY (kind, name))",
        "CREATE TABLE files (kind TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,"
        " sha256 TEXT NOT NULL REFERENCES blobs (sha256), PRIMARY KEY (kind, name, path),"
        " FOREIGN KEY (kind, name) REFERENCES bundles (kind, name))",
        "CREATE TABLE consents (avatar TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,"
        " revoked TEXT NOT NULL DEFAULT '', PRIMARY KEY (avatar, id))",
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
    ("CREATE INDEX files_by_content ON files (sha256)",),
)

REVISION = "SELECT value FROM meta WHERE key = 'revision'"
