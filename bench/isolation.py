"""Prints who may do what to another owner's rows, and how many requests with another owner's ids were tried.

    python -m bench.isolation [--no-endpoints]

The matrix is read off a real Postgres with every migration and the default privileges of a Supabase project. A pair is
one request with an id of another owner and the same request with an id of nobody; it differs when the answers do, and
then both are printed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from api.app import create_app
from tests.support.databases import KINDS, open_databases
from tests.support.endpoint_cases import fuzz, routes_of, takes_ids, two_accounts
from tests.support.isolation_cases import VERBS, as_table, matrix, open_ground
from tests.support.postgres_server import PostgresServer, open_server


def print_matrix(server: PostgresServer) -> None:
    with open_ground(server) as ground:
        found = matrix(ground)
    print(
        f"{', '.join(VERBS)} of an owner's rows ({len(found)} tables), by who asks; one word where all are the same:\n"
    )
    print(as_table(found))


def print_pairs(server: PostgresServer) -> None:
    for kind in KINDS:
        with TemporaryDirectory(prefix="docatlas-isolation-") as folder:
            with (
                open_databases(kind, server if kind == "postgresql" else None) as databases,
                two_accounts(databases, Path(folder)) as (runtime, victim, stranger),
            ):
                app = create_app(runtime)
                pairs = list(fuzz(app, victim, stranger))
                routes = routes_of(app)
            statuses = Counter(pair.foreign[0] for pair in pairs)
            differences = [line for pair in pairs for line in pair.differences]
            different = sum(bool(pair.differences) for pair in pairs)
            print(
                f"{kind}: {len(pairs)} pairs, {len({pair.route for pair in pairs})} of {len(routes)} routes "
                f"({sum(not takes_ids(route) for route in routes)} take no id) and {len(victim.ids)} kinds of ids; "
                f"{different} answers differ; "
                + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            )
            for line in differences:
                print(f"  {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--no-endpoints", action="store_true", help="print the matrix only")
    given = parser.parse_args()
    with open_server() as server:
        print_matrix(server)
        if not given.no_endpoints:
            print()
            print_pairs(server)


if __name__ == "__main__":
    main()
