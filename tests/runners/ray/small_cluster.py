"""A cluster of nodes on this machine, each with one processor core: adds one for each line that it reads.

It prints its address, and ends with its standard input. Its files are in the directory that RAY_TMPDIR names. It
imports nothing of this program.
"""

import os
import sys

# Before Ray is imported, so that it listens on 127.0.0.1 alone.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    os.makedirs(os.path.join(os.environ["RAY_TMPDIR"], "ray"), exist_ok=True)
    size = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 96 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.add_node(**size, wait=False)
        print("added", flush=True)
    cluster.shutdown()
