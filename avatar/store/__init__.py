"""State that matters: avatars, calibrations, settings and consents, in a database and in content-addressed files.

===================== ==================================================================================================
:mod:`~.schema`       the tables, as numbered migrations
:mod:`~.sqlite`       the database of one computer: a file beside the content-addressed files
:mod:`~.postgres`     the database of several hosts: a server, which holds the files' content too
:mod:`~.blobs`        content by its SHA-256
:mod:`~.index`        what there is, as one immutable value
:mod:`~.changes`      one transaction's changes
:mod:`~.folders`      a bundle's files on disk, for engines that need them there
:mod:`~.takeover`     plain folders of earlier versions
:mod:`~.moving`       from one store into another
:mod:`~.store`        all of them together: the one interface for the library, calibrations and settings
===================== ==================================================================================================
"""

from avatar.store.changes import Change
from avatar.store.index import Bundle, Consent, Index
from avatar.store.store import SQLITE, Store, shared, user_data_dir

__all__ = ["SQLITE", "Bundle", "Change", "Consent", "Index", "Store", "shared", "user_data_dir"]
