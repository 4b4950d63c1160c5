"""A real PostgreSQL server for the stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatar.testing.postgres import Postgres, programs


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no PostgreSQL here (Debian's postgresql; tests/setup_system.sh installs it)")
    pytest.importorskip("psycopg", reason="the store on PostgreSQL needs psycopg (extra: test)")
    with Postgres() as running:
        yield running


@pytest.fixture
def postgres_url(server: Postgres) -> str:
    """Of an empty database."""
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url
