"""A Ray cluster of two nodes on the loopback interface of this machine, one core each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HOST = "127.0.0.1"


class Nodes:
    """:mod:`ray.cluster_utils` with nothing but loopback addresses. To be made before anything imports Ray, which
    looks at its environment only then."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Without clusters of several machines Ray takes loopback for its own address, in every process.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # A process of one core that is started at once: two at a time would be late for a machine of two cores.
        os.environ.setdefault("RAY_worker_register_timeout_seconds", "120")
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)
        head = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": HOST}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self.cluster.address)
        self.second: Any = self.add()

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1, node_ip_address=HOST)

    def kill_second(self) -> None:
        """With everything that runs on it, at once."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


@contextmanager
def two_nodes() -> Iterator[str]:
    """The cluster's address."""
    nodes = Nodes()
    try:
        yield nodes.address
    finally:
        nodes.close()
