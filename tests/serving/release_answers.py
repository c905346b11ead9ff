"""Runs with the TensorFlow of a TensorFlow Serving release: loads each SavedModel in a session, and asks it.

python release_answers.py DIRECTORY

A folder of DIRECTORY holds `saved_model/` and, for each of its signatures, `SIGNATURE.in.npz`: its inputs by name.
Leaves `SIGNATURE.out.npz` beside it. Strings are object arrays of bytes.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 (registers the operations of a tokenizer in the graph)


def answer(folder: Path) -> None:
    """Asks every signature that has inputs."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder / "saved_model"))
        for path in sorted(folder.glob("*.in.npz")):
            name = path.name.removesuffix(".in.npz")
            signature = meta_graph.signature_def[name]
            inputs = np.load(path, allow_pickle=True)
            feed = {signature.inputs[key].name: inputs[key] for key in inputs.files}
            fetch = {key: tensor.name for key, tensor in signature.outputs.items()}
            np.savez(folder / f"{name}.out.npz", **session.run(fetch, feed))


if __name__ == "__main__":
    for directory in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        answer(directory)
    print(tf.__version__)
